"""The times of all client connections, kept together: a timer for each would cost every request."""

from __future__ import annotations

import asyncio
from typing import Protocol

from django.conf import settings

from usage.loops import LOOPS

LOOK_EVERY_S = 0.25


class Timed(Protocol):
    """Something that waits until `deadline`, in the loop's time, and then is told."""

    deadline: float

    def be_late(self) -> None: ...

    def has_stalled(self, now: float, most_s: float) -> bool:
        """Whether who reads it has taken nothing for so long of what waits."""

    def be_stalled(self) -> None: ...


class Keeper:
    """Looks at the times of all connections, so that none needs a timer of its own for each request."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.doors: set[Timed] = set()
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
        for door in tuple(self.doors):
            try:
                if door.deadline <= now:
                    door.be_late()
                elif door.has_stalled(now, self.send_s):
                    door.be_stalled()
            except Exception as error:
                self.doors.discard(door)  # it would fail each time
                self._failures.failed_alone(error)


_keepers: dict[asyncio.AbstractEventLoop, Keeper] = {}


def keeper_of(loop: asyncio.AbstractEventLoop) -> Keeper:
    keeper = _keepers.get(loop)
    if keeper is None:
        _keepers.clear()  # a process serves from one loop at a time; tests make new ones
        keeper = _keepers[loop] = Keeper(loop)
    return keeper
