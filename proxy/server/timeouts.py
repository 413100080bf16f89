"""Keeps the timeouts of all client connections together: a timer for each would cost every request."""

from __future__ import annotations

import asyncio
from typing import Protocol

from django.conf import settings

from usage.loops import LOOPS

LOOK_EVERY_S = 0.25


class TimedConnection(Protocol):
    """A connection whose `be_late` is called when `deadline`, in the loop's time, has passed."""

    deadline: float

    def be_late(self) -> None: ...

    def has_stalled(self, now: float, most_s: float) -> bool:
        """Whether data waits for the client, which has taken none of it for `most_s` seconds."""

    def be_stalled(self) -> None: ...


class ConnectionTimeouts:
    """Checks all connections every `LOOK_EVERY_S`, so that none needs a timer of its own for each request."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.connections: set[TimedConnection] = set()
        self.head_s: float = settings.HEADER_TIMEOUT_SECS
        self.idle_s: float = settings.KEEP_ALIVE_SECS
        self.send_s: float = settings.SEND_TIMEOUT_SECS
        self.default_headers: list[tuple[bytes, bytes]] | None = None
        self.default_lines = b""
        self._failures = LOOPS.named("connection-deadlines")
        self._look()

    def _look(self) -> None:
        self.loop.call_later(LOOK_EVERY_S, self._look)
        now = self.loop.time()
        for connection in tuple(self.connections):
            try:
                if connection.deadline <= now:
                    connection.be_late()
                elif connection.has_stalled(now, self.send_s):
                    connection.be_stalled()
            except Exception as error:
                self.connections.discard(connection)  # it would fail each time
                self._failures.failed_alone(error)


_timeouts_of_loops: dict[asyncio.AbstractEventLoop, ConnectionTimeouts] = {}


def connection_timeouts_of(loop: asyncio.AbstractEventLoop) -> ConnectionTimeouts:
    timeouts = _timeouts_of_loops.get(loop)
    if timeouts is None:
        _timeouts_of_loops.clear()  # a process serves from one loop at a time; tests make new ones
        timeouts = _timeouts_of_loops[loop] = ConnectionTimeouts(loop)
    return timeouts
