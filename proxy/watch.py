"""Patience: how long a request waits, and whether anybody still waits for it.

The common request is answered before any of this matters, so it pays for one timer. When that fires, the request is a
slow one: only then a task is made that listens for the client's leaving.
"""

from __future__ import annotations

import asyncio
import time
from math import inf

from proxy.errors import ClientGone, ProxyError
from proxy.exchange import Exchange

FIRST_LOOK_S = 0.15
LOOK_EVERY_S = 1.0


class Watch:
    """Interrupts the request's task, once, for one reason. The task turns the interruption into it by `cause`."""

    __slots__ = ("_exchange", "_failure", "_listener", "_loop", "_task", "_timer", "deadline", "listens", "reason")

    def __init__(self, exchange: Exchange) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._exchange = exchange
        self._listener: asyncio.Task[None] | None = None
        self._failure: ProxyError | None = None
        self.reason: ProxyError | ClientGone | None = None
        self.deadline = inf
        self.listens = False
        """Set once the request's body has been read: from then on only the client's leaving can come."""
        self._timer = self._loop.call_later(FIRST_LOOK_S, self._look)

    def expect(self, within_s: float, failure: ProxyError) -> None:
        """From now on, what comes next comes within this time."""
        self.deadline = time.monotonic() + within_s
        self._failure = failure

    def relax(self) -> None:
        """What comes next may take its time."""
        self.deadline = inf

    def cause(self, interruption: asyncio.CancelledError) -> ProxyError | ClientGone:
        """Why the task was interrupted. Raises the interruption itself when it was not this watch's."""
        if self.reason is None:
            raise interruption
        self._task.uncancel()
        return self.reason

    def close(self) -> None:
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()

    def interrupt(self, reason: ProxyError | ClientGone) -> None:
        if self.reason is None:
            self.reason = reason
            self._timer.cancel()
            self._task.cancel()

    def _look(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0 and self._failure is not None:
            self.interrupt(self._failure)
            return
        if self.listens and self._listener is None:
            self._listener = self._loop.create_task(self._listen())
        self._timer = self._loop.call_later(min(left, LOOK_EVERY_S), self._look)

    async def _listen(self) -> None:
        while True:
            message = await self._exchange.receive()
            if message["type"] == "http.disconnect":
                if not self._exchange.answer_ended:
                    self.interrupt(ClientGone())
                return
