"""Limits how long a request waits for what comes next, and notices when its client has left.

Most requests are answered before this matters, so a request costs an entry in a set, and no timer. A check every 80 ms
goes over the requests under way. Sluice's own server knows whether the client is still connected. Under another server,
a request that is found by two checks gets a task that listens for its client's disconnect.
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
from usage.loops import LOOPS, end_tasks

LOOK_EVERY_S = 0.08
"""Seconds between two checks. The slot of a client that leaves is free within 100 ms (P14)."""

LAST_S = 0.5
"""How long a request that was interrupted may take to send its error."""


class Waiting(Protocol):
    """A request whose client waits."""

    call: Call | None
    """The server's side of the request; None under a server other than Sluice's own."""

    answer_ended: bool

    @property
    def is_needed(self) -> bool:
        """Whether others wait for its answer, so that it goes on without its client."""

    @property
    def receive(self) -> Receive: ...


class RequestDeadline:
    """Cancels the request's task, once and for one reason. The task then calls `cause` to get the reason."""

    __slots__ = ("_exchange", "_failure", "_is_seen", "_listener", "_watched", "at", "listens", "reason", "task")

    def __init__(self, exchange: Waiting, watched: set[RequestDeadline]) -> None:
        self._exchange = exchange
        self._watched = watched
        self.task: asyncio.Task[None] | None = exchange.call.task if exchange.call else asyncio.current_task()
        self._listener: asyncio.Task[None] | None = None
        self._failure: Callable[[], ProxyError] | None = None
        self.reason: ProxyError | ClientGone | None = None
        self.at = inf
        self._is_seen = False
        self.listens = False
        """Set once the request's body has been read: from then on `receive` can only return a disconnect."""
        watched.add(self)

    def expect(self, within_s: float, failure: Callable[[], ProxyError]) -> None:
        """Interrupt the task with `failure()` unless what comes next comes within this time.

        A new deadline is possible after one has passed: a passed deadline ends what it guards, such as an attempt, and
        the request only if nothing follows that.
        """
        if self.reason is not None and not isinstance(self.reason, ClientGone):
            self.reason = None
            self._watched.add(self)
        self.at = time.monotonic() + within_s
        self._failure = failure

    def relax(self) -> None:
        """Wait without a limit for what comes next."""
        self.at = inf

    def cause(self) -> ProxyError | ClientGone:
        """Why the task was interrupted: the deadline has passed, the client has left, or the server ends.

        Raises `CancelledError` if the server ends and the client is gone or could not be told without waiting.
        """
        if self.reason is not None and self.task is not None:
            self.task.uncancel()
            return self.reason
        call = self._exchange.call
        if call is None or call.is_lost or call.is_held_back:
            raise asyncio.CancelledError from None
        return ShuttingDown()

    def close(self) -> None:
        """Interrupt nothing any more. The reason is dropped: an exception refers to frames, which refer to this
        object, so keeping it would be a reference cycle.
        """
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
        if not self._exchange.answer_ended and not self._exchange.is_needed:
            self._interrupt(ClientGone())

    def _interrupt(self, reason: ProxyError | ClientGone) -> None:
        if self.reason is None and self.task is not None:
            self.reason = reason
            self._watched.discard(self)
            self.task.cancel()

    async def _listen(self) -> None:
        while True:
            message = await self._exchange.receive()
            if message["type"] == "http.disconnect":
                self.client_left()
                return


class RequestDeadlines:
    """Checks all deadlines of this process, every `LOOK_EVERY_S`."""

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

    async def end_requests(self) -> None:
        """Wait for requests that the server has just interrupted, and interrupt all others. Their events come last."""
        running = {deadline.task for deadline in self.watched if deadline.task is not None}
        if running:
            _, late = await asyncio.wait(running, timeout=LAST_S)
            await end_tasks(late)

    def stop(self) -> None:
        self._timer.cancel()
