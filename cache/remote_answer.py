"""The answer of another process's call, as it comes through Redis (`cache/remote.py`)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf

import msgspec

from cache.entry import Headers

ACKNOWLEDGED_BYTES = 128 * 1024
"""The other process is told each time that so much was read."""


class Facts(msgspec.Struct, array_like=True):
    """What the process that made the call knows of its answer."""

    status: int
    headers: Headers
    provider_id: int
    model: str
    """The provider's name for the model."""
    asked_usage: bool
    credential: str
    """The alias of the one that the answer was made with."""


class Failure(msgspec.Struct, array_like=True):
    """Why there is no answer to share. An empty code: the next of those that wait makes a call."""

    code: str = ""
    message: str = ""
    headers: Headers = []
    tries: int = 0
    """How many calls for the same question failed before this one."""


class RemoteAnswer:
    """`head` comes first; then it is read as a provider's answer is (`proxy/wire/answer.py`).

    `was_read` is called with a number of bytes, `on_end` when nothing is expected any more.
    """

    def __init__(self, was_read: Callable[[int], object], on_end: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._was_read, self._on_end = was_read, on_end
        self._head: asyncio.Future[Facts | Failure | None] = loop.create_future()
        self._pieces: deque[bytes] = deque()
        self._next = 0
        self._read_bytes = 0
        self._is_lost = self._is_closed = False
        self._then: Callable[[], object] = lambda: None
        self._waiter: asyncio.Future[None] | None = None
        self._heard_at = loop.time()
        self.is_over = False
        """The end, or the failure, has come."""
        self.ask: Callable[[], object] = lambda: None
        """Asks the other process whether the answer is still under way, if it has been silent."""
        self.status = 0
        self.headers: Headers = []

    async def head(self) -> Facts | Failure | None:
        """None if the other process is gone."""
        return await asyncio.shield(self._head)

    def silent_s(self) -> float:
        return self._loop.time() - self._heard_at

    # --- what the other process says ----------------------------------------------------------------------------

    def began(self, facts: Facts) -> None:
        self.is_alive()
        self.status, self.headers = facts.status, facts.headers
        if not self._head.done():
            self._head.set_result(facts)

    def failed(self, failure: Failure) -> None:
        self._over()
        if not self._head.done():
            self._head.set_result(failure)

    def came(self, number: int, piece: bytes) -> None:
        """Pieces come in order; one that is missing was lost on the way."""
        if number != self._next:
            self.lose()
            return
        self._next += 1
        self._pieces.append(piece)
        self.is_alive()
        self._wake()

    def ended(self, number: int) -> None:
        if number != self._next:
            self.lose()
            return
        self._over()
        self._wake()

    def is_alive(self) -> None:
        self._heard_at = self._loop.time()

    def lose(self) -> None:
        """The answer breaks off here."""
        if self.is_over:
            return
        self._is_lost = True
        if not self._head.done():
            self._head.set_result(None)
        self._close()
        self._wake()

    def _over(self) -> None:
        self.is_over = True
        self._close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- what its reader does -------------------------------------------------------------------------------------

    @property
    def _has_news(self) -> bool:
        return bool(self._pieces) or self.is_over or self._is_lost

    async def comes_by(self, deadline: float) -> bool:
        try:
            async with asyncio.timeout_at(deadline if deadline < inf else None):
                await self._news()
        except TimeoutError:
            return self._has_news
        return True

    async def read(self) -> bytes:
        await self._news()
        if not self._pieces:
            if self.is_over:
                return b""
            raise ConnectionResetError("The process that read the provider's answer is gone.")
        return self._taken(self._pieces.popleft())

    def put_back(self, data: bytes) -> None:
        self._pieces.appendleft(data)
        self._read_bytes -= len(data)

    def rest(self) -> bytes | None:
        if not self.is_over:
            return None
        rest = b"".join(self._pieces)
        self._pieces.clear()
        return rest

    def abort(self) -> None:
        """Nobody reads it any more."""
        self._close()

    def when_over(self, then: Callable[[], object]) -> None:
        """Call this when nothing more is expected, or now if that is so already."""
        self._then = then
        if self._is_closed:
            then()

    def _close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._on_end()
            self._then()

    async def _news(self) -> None:
        while not self._has_news:
            self._waiter = self._loop.create_future()
            await self._waiter

    def _taken(self, piece: bytes) -> bytes:
        self._read_bytes += len(piece)
        if self._read_bytes >= ACKNOWLEDGED_BYTES and not self.is_over:
            self._was_read(self._read_bytes)
            self._read_bytes = 0
        return piece
