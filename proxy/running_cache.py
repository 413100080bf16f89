"""The response cache of a process, and what runs for it: connections, threads, the loop that writes to the database."""

from __future__ import annotations

import asyncio
import logging

from django.conf import settings
from django.db import DatabaseError
from prometheus_client import Counter

from cache.responses import ResponseCache
from cache.tiers.circuit import Circuit
from cache.tiers.database import DatabaseTier
from cache.tiers.redis import TAG, RedisTier
from cache.tiers.redis_commands import RedisCommands
from keys.limits.connection import connect
from proxy.configuration.database_thread import DatabaseThread
from usage.loops import LOOPS, end_tasks

log = logging.getLogger("sluice.cache")

DATABASE_PATIENCE_S = 0.5
"""A miss waits no longer for the database: the provider is asked."""

dropped = Counter("llm_proxy_cache_entries_dropped", "Answers that the database did not store in time.")


class RunningCache:
    """One for each process. `cache` is what the steps use."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._commands = redis_commands() if settings.HTTP_CACHE_BACKEND == "redis" else None
        self._threads: list[DatabaseThread] = []
        self._kept = self._database_tier() if settings.HTTP_CACHE_STORE else None
        self.cache = ResponseCache(
            memory_bytes=settings.HTTP_CACHE_MEMORY_BYTES,
            default_policy=settings.HTTP_CACHE_DEFAULT_POLICY,
            default_ttl_s=settings.HTTP_CACHE_DEFAULT_TTL,
            most_object_bytes=settings.HTTP_CACHE_MAX_OBJECT_BYTES,
            shared=RedisTier(self._commands) if self._commands is not None else None,
            kept=self._kept,
        )

    def start(self) -> None:
        if self._kept is not None:
            self._tasks = [asyncio.create_task(LOOPS.named("cache-writes").run(self._kept.write_waiting))]

    async def stop(self) -> None:
        """Write what waits, if the database takes it, and close the connections."""
        await end_tasks(self._tasks)
        if self._kept is not None:
            try:
                await self._kept.write_all()
            except DatabaseError as error:
                log.warning("The last answers are not stored in the database: %s", type(error).__name__)
        for tier in self.cache.tiers:
            await tier.close()
        if self._commands is not None:
            await self._commands.close()
        for thread in self._threads:
            await thread.close()

    def _database_tier(self) -> DatabaseTier:
        reads, writes = (
            DatabaseThread(name, settings.DATABASE_TIMEOUT_SECS) for name in ("cache-reads", "cache-writes")
        )
        self._threads = [reads, writes]
        return DatabaseTier(reads, writes, circuit_of("cache-database", DATABASE_PATIENCE_S), dropped.inc)


def circuit_of(name: str, timeout_s: float) -> Circuit:
    loop = LOOPS.named(name)

    def failed(error: Exception) -> None:
        if not loop.state.failed_at:
            log.warning("%s does not answer; requests go on without it: %s", name, type(error).__name__)
        loop.failed(error, is_logged=True)

    return Circuit(timeout_s, failed, loop.is_well)


def redis_commands() -> RedisCommands:
    return RedisCommands(connect(settings.REDIS_URL), circuit_of("cache-redis", settings.LIMIT_PATIENCE_SECS), TAG)
