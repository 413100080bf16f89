"""A process that remembers keys, and changes that are made elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from django.db import connection

from proxy.configuration.snapshot import Snapshot


@asynccontextmanager
async def running() -> AsyncIterator[Snapshot]:
    snapshot = Snapshot()
    await snapshot.start()
    try:
        yield snapshot
    finally:
        await snapshot.stop()


async def hear(snapshot: Snapshot, change: Callable[[], object]) -> None:
    """Make the change elsewhere and wait until this process has taken it in."""
    before = snapshot.version
    await asyncio.to_thread(_and_close, change)
    async with asyncio.timeout(5):
        while snapshot.version == before:  # noqa: ASYNC110 - it tells nobody when it has heard
            await asyncio.sleep(0.01)


def _and_close(change: Callable[[], object]) -> None:
    try:
        change()
    finally:
        connection.close()


def in_a_loop(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]
