"""How long a request waits for what comes next, and whether anybody still waits for it.

The common request is answered before any of this matters, so it pays for a set's entry and no timer. One look, every
80 ms, goes over the requests under way. Sluice's own server knows then whether the client is there; under another one,
for a request that is found twice a task is made that listens for its client's leaving.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Protocol

from proxy.errors import ClientGone, ProxyError, ShuttingDown
from proxy.server.call import Call
from proxy.wire.asgi import Receive
from usage.loops import LOOPS

LOOK_EVERY_S = 0.08
"""A client that leaves gives back its slot within 100 ms (P14)."""


class Waiting(Protocol):
    """A request whose client waits."""

    call: Call | None
    """The server's side of it, where that is Sluice's own."""

    answer_ended: bool

    @property
    def receive(self) -> Receive: ...


class RequestDeadline:
    """Interrupts the request's task, once, for one reason. The task turns the interruption into it by `cause`."""

    __slots__ = ("_exchange", "_failure", "_is_seen", "_listener", "_task", "_watched", "at", "listens", "reason")

    def __init__(self, exchange: Waiting, watched: set[RequestDeadline]) -> None:
        self._exchange = exchange
        self._watched = watched
        self._task: asyncio.Task[None] | None = exchange.call.task if exchange.call else asyncio.current_task()
        self._listener: asyncio.Task[None] | None = None
        self._failure: Callable[[], ProxyError] | None = None
        self.reason: ProxyError | ClientGone | None = None
        self.at = inf
        self._is_seen = False
        self.listens = False
        """Set once the request's body has been read: from then on only the client's leaving can come."""
        watched.add(self)

    def expect(self, within_s: float, failure: Callable[[], ProxyError]) -> None:
        """From now on, what comes next comes within this time. Also after a deadline passed whose reason was told:
        it ends what it guards, such as an attempt, and the request where nothing follows that.
        """
        if self.reason is not None and not isinstance(self.reason, ClientGone):
            self.reason = None
            self._watched.add(self)
        self.at = time.monotonic() + within_s
        self._failure = failure

    def relax(self) -> None:
        """What comes next may take its time."""
        self.at = inf

    def cause(self) -> ProxyError | ClientGone:
        """Why the task was interrupted: by this deadline, by its client, or because the server ends.

        Raises `CancelledError` where the server ends and nobody can be told without waiting.
        """
        if self.reason is not None and self._task is not None:
            self._task.uncancel()
            return self.reason
        call = self._exchange.call
        if call is None or call.is_lost or call.is_held_back:
            raise asyncio.CancelledError from None
        return ShuttingDown()

    def close(self) -> None:
        """Nothing is interrupted any more. What it kept is let go of: an exception knows the frames that know it."""
        self._watched.discard(self)
        self.reason = None
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None

    def look(self, now: float) -> None:
        if now >= self.at and self._failure is not None:
            self._interrupt(self._failure())
        elif not self.listens:
            return
        elif (call := self._exchange.call) is not None and call.is_lost:
            self.client_left()
        elif self._listener is None:
            if self._is_seen:
                self._listener = asyncio.get_running_loop().create_task(self._listen())
            self._is_seen = True

    def client_left(self) -> None:
        if not self._exchange.answer_ended:
            self._interrupt(ClientGone())

    def _interrupt(self, reason: ProxyError | ClientGone) -> None:
        if self.reason is None and self._task is not None:
            self.reason = reason
            self._watched.discard(self)
            self._task.cancel()

    async def _listen(self) -> None:
        while True:
            message = await self._exchange.receive()
            if message["type"] == "http.disconnect":
                self.client_left()
                return


class RequestDeadlines:
    """Looks at all watches of this process."""

    def __init__(self) -> None:
        self.watched: set[RequestDeadline] = set()
        self._loop = asyncio.get_running_loop()
        self._failures = LOOPS.named("request-deadlines")
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
        now = time.monotonic()
        for deadline in tuple(self.watched):
            try:
                deadline.look(now)
            except Exception as error:
                self.watched.discard(deadline)  # it would fail each time
                self._failures.failed_alone(error)

    def stop(self) -> None:
        self._timer.cancel()
