"""The limits of several processes on one Redis that a test may break, with one clock and one ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from keys.limits import Ask, Baseline, LimitExceeded, Need, Reservation, Scope, Unknown
from keys.limits.connection import connect
from keys.limits.fallback import FallbackLimits
from keys.limits.operations import picousd
from tests.kit.scopes import USD, Clock
from tests.kit.services.redis import RedisServer

ONE = Ask(cost=USD, bounded=True)


class Process:
    """The limits of one process. The events `back` and `away` say whether it has Redis."""

    limits: FallbackLimits

    def __init__(self, ledger: dict[tuple[str, str], Baseline], clock: Clock) -> None:
        self.ledger, self.clock = ledger, clock
        self.loads: list[Need] = []
        self.back = asyncio.Event()
        self.away = asyncio.Event()

    def changed(self, up: bool, reason: str) -> None:
        (self.back if up else self.away).set()
        (self.away if up else self.back).clear()

    async def reserve(self, scopes: Scope | list[Scope], ask: Ask = ONE) -> Reservation:
        scopes = scopes if isinstance(scopes, list) else [scopes]
        try:
            return await self.limits.reserve(tuple(scopes), ask, self.clock())
        except Unknown as unknown:
            for need in unknown.needs:
                self.loads.append(need)
                self.limits.load(need, self.ledger.get((need.kind, need.id), Baseline()))
            return await self.limits.reserve(tuple(scopes), ask, self.clock())

    async def refused(self, scopes: Scope | list[Scope], ask: Ask = ONE) -> LimitExceeded:
        with pytest.raises(LimitExceeded) as caught:
            await self.reserve(scopes, ask)
        return caught.value

    async def told(self) -> None:
        """Wait until everything that this process has to tell Redis has been sent."""
        await self.limits._shared.drain()

    def forsake(self) -> None:
        """Stop the renewal of the process's lease, as if it had been killed."""
        shared = self.limits._shared
        assert shared._renewal is not None
        shared._renewal.cancel()


class Ground:
    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.clock = Clock()
        self.ledger: dict[tuple[str, str], Baseline] = {}

    @asynccontextmanager
    async def processes(self, number: int = 1, **options: Any) -> AsyncIterator[list[Process]]:
        made: list[Process] = []
        clients = []
        for _ in range(number):
            client = connect(self.server.url)
            clients.append(client)
            process = Process(self.ledger, self.clock)
            process.limits = FallbackLimits(
                client, clock=self.clock, timeout_s=0.3, probe_every_s=0.01, on_change=process.changed, **options
            )
            made.append(process)
            await process.limits.start()
        try:
            yield made
        finally:
            for process in made:
                await process.limits.close()
            for client in clients:
                await client.aclose()

    def spent(self) -> int:
        """What the key has spent according to Redis, in picodollars. A batch could change it, so none is used."""
        client = self.server.client()
        stored = client.get("{sluice:limits}:key:1")
        client.close()
        assert isinstance(stored, bytes)
        return picousd(msgspec.msgpack.decode(stored)[6][5])


def run(server: RedisServer, test: Callable[[Ground], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(Ground(server)), 30))
