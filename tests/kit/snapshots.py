"""A running snapshot, and changes that reach it through the change feed."""

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
    """Make the change in another thread, and wait until the snapshot has applied it."""
    before = snapshot.version
    await asyncio.to_thread(_and_close, change)
    async with asyncio.timeout(5):
        while snapshot.version == before:  # noqa: ASYNC110 - a snapshot has no event for this
            await asyncio.sleep(0.01)


def _and_close(change: Callable[[], object]) -> None:
    try:
        change()
    finally:
        connection.close()


def in_a_loop(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]
