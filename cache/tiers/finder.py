"""Finds entries for many requests with one question at a time: what is asked meanwhile goes together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from cache.tiers.base import NONE, Found
from cache.tiers.circuit import Circuit, PartAway

AT_ONCE = 50
"""Digests in one question."""


class Finder:
    """`ask` answers for some digests; what it does not mention is not there. With `goes_on`, it cannot be cancelled."""

    def __init__(
        self,
        ask: Callable[[Sequence[str]], Awaitable[Mapping[str, Found]]],
        circuit: Circuit,
        *,
        goes_on: bool = False,
    ) -> None:
        self._ask, self._circuit, self._goes_on = ask, circuit, goes_on
        self._wanted: dict[str, asyncio.Future[Found]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, digest: str) -> Found:
        """Empty where there is no entry, and where the part does not answer. Never raises."""
        if self._circuit.is_open:
            return NONE
        future = self._wanted.get(digest)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._wanted[digest] = loop.create_future()
            if self._task is None:
                self._task = loop.create_task(self._find_all())
        return await asyncio.shield(future)

    async def close(self) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _find_all(self) -> None:
        """Ends when nothing is wanted. Each question is bounded, and `PartAway` ends them all soon."""
        try:
            while self._wanted:
                digests = list(self._wanted)[:AT_ONCE]
                futures = {digest: self._wanted.pop(digest) for digest in digests}
                found: Mapping[str, Found] = {}
                try:
                    found = await self._circuit.ask(lambda: self._ask(digests), goes_on=self._goes_on)  # noqa: B023
                except PartAway:
                    pass
                finally:
                    for digest, future in futures.items():
                        if not future.done():
                            future.set_result(found.get(digest, NONE))
        finally:
            self._task = None
