"""Leaves a part that fails or is slow alone for a while, so that requests do not wait for it one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

LEFT_ALONE_S = 2.0

OnFailure = Callable[[Exception], object]


class PartAway(Exception):
    """The part did not answer, or is left alone because it did not answer a moment ago."""


class Circuit:
    """`on_failure` gets each error; `on_answer` is called for each answer."""

    def __init__(self, timeout_s: float, on_failure: OnFailure, on_answer: Callable[[], None]) -> None:
        self._timeout_s = timeout_s
        self._on_failure, self._on_answer = on_failure, on_answer
        self._closed_from = 0.0
        self._left: asyncio.Future[Any] | None = None
        """A question that was not answered in time. The part is left alone until it ends."""

    @property
    def is_open(self) -> bool:
        """Whether the part is left alone."""
        if self._left is not None and not self._left.done():
            return True
        return asyncio.get_running_loop().time() < self._closed_from

    async def ask(self, question: Callable[[], Awaitable[T]], *, goes_on: bool = False) -> T:
        """The answer. With `goes_on`, a question that takes too long is not cancelled, since it cannot be.

        Raises `PartAway`.
        """
        if self.is_open:
            raise PartAway
        try:
            answer = await (self._without_end(question) if goes_on else self._bounded(question))
        except Exception as error:
            self.failed(error)
            raise PartAway from error
        self._on_answer()
        return answer

    def failed(self, error: Exception) -> None:
        self._closed_from = asyncio.get_running_loop().time() + LEFT_ALONE_S
        self._on_failure(error)

    async def _bounded(self, question: Callable[[], Awaitable[T]]) -> T:
        async with asyncio.timeout(self._timeout_s):
            return await question()

    async def _without_end(self, question: Callable[[], Awaitable[T]]) -> T:
        asked = asyncio.ensure_future(question())
        done, _ = await asyncio.wait({asked}, timeout=self._timeout_s)
        if not done:
            self._left = asked
            asked.add_done_callback(_heed)
            raise TimeoutError(f"No answer within {self._timeout_s:g} s.")
        return asked.result()


def _heed(asked: asyncio.Future[Any]) -> None:
    """Its failure is known by then: it took too long."""
    if not asked.cancelled():
        asked.exception()
