"""The response cache of a process, and what runs for it: connections, threads, the loop that writes to the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import redis.asyncio
from django.conf import settings
from django.db import DatabaseError
from prometheus_client import Counter
from redis.exceptions import RedisError

from cache.purge import forget_response
from cache.remote import RemoteCalls
from cache.responses import ResponseCache
from cache.tiers.circuit import Circuit
from cache.tiers.database import DatabaseTier
from cache.tiers.redis import TAG, RedisTier
from cache.tiers.redis_commands import RedisCommands
from keys.limits.connection import connect
from proxy.configuration.database_thread import DatabaseThread
from usage.loops import LOOPS, end_tasks

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

log = logging.getLogger("sluice.cache")

DATABASE_PATIENCE_S = 0.5
"""A miss waits no longer for the database: the provider is asked."""

FORGET_S = 2.0
"""The deletion of a response waits no longer for the database."""

SILENT_S = 2.0
"""A channel that says nothing for so long, and does not answer a ping, is subscribed anew."""

TRY_AGAIN_S = 0.5

dropped = Counter("llm_proxy_cache_entries_dropped", "Answers that the database did not store in time.")


class RunningCache:
    """One for each process. `cache` is what the steps use."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._commands = redis_commands() if settings.HTTP_CACHE_BACKEND == "redis" else None
        self._forgets = DatabaseThread("cache-forgets", settings.DATABASE_TIMEOUT_SECS)
        self._threads = [self._forgets]
        self._kept = self._database_tier() if settings.HTTP_CACHE_STORE else None
        self._remote = RemoteCalls(self._commands) if self._commands is not None else None
        self.cache = ResponseCache(
            memory_bytes=settings.HTTP_CACHE_MEMORY_BYTES,
            default_policy=settings.HTTP_CACHE_DEFAULT_POLICY,
            default_ttl_s=settings.HTTP_CACHE_DEFAULT_TTL,
            most_object_bytes=settings.HTTP_CACHE_MAX_OBJECT_BYTES,
            shared=RedisTier(self._commands) if self._commands is not None else None,
            kept=self._kept,
            remote=self._remote,
        )

    async def forget_response(self, response_id: str) -> None:
        """Its client deletes what the provider stores under this id: no process replays it any more. Never raises."""
        if not self.cache.tiers:
            return  # nobody else has it
        try:
            async with asyncio.timeout(FORGET_S):
                await self._forgets.run(lambda: forget_response(response_id), retry=False)
        except (DatabaseError, TimeoutError) as error:
            log.warning("A deleted response may be replayed until it expires: %s", type(error).__name__)

    def start(self) -> None:
        steps: dict[str, Callable[[], Awaitable[None]]] = {}
        if self._kept is not None:
            steps["cache-writes"] = self._kept.write_waiting
        if self._remote is not None:
            steps |= {"cache-calls": self._remote.tend, "cache-channel": self._listen}
        self._tasks = [asyncio.create_task(LOOPS.named(name).run(step)) for name, step in steps.items()]

    async def stop(self) -> None:
        """Write what waits, if the database takes it, and close the connections."""
        await end_tasks(self._tasks)
        if self._remote is not None:
            await self._remote.close()
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

    async def _listen(self) -> None:
        """Heed what other processes say. Connects again after each failure."""
        assert self._remote is not None
        remote, loop = self._remote, LOOPS.named("cache-channel")
        while True:
            try:
                async with (
                    redis.asyncio.Redis.from_url(
                        settings.REDIS_URL, socket_timeout=SILENT_S, socket_connect_timeout=SILENT_S
                    ) as client,
                    client.pubsub() as channel,
                ):
                    await channel.subscribe(remote.channel)
                    loop.is_well()
                    await heed(channel, remote)
            except (RedisError, OSError) as error:
                if not loop.state.failed_at:
                    log.warning("Redis does not tell what other processes say: %s", type(error).__name__)
                loop.failed(error, is_logged=True)
                await asyncio.sleep(TRY_AGAIN_S)
            finally:
                remote.lost_channel()

    def _database_tier(self) -> DatabaseTier:
        reads, writes = (
            DatabaseThread(name, settings.DATABASE_TIMEOUT_SECS) for name in ("cache-reads", "cache-writes")
        )
        self._threads += [reads, writes]
        return DatabaseTier(reads, writes, circuit_of("cache-database", DATABASE_PATIENCE_S), dropped.inc)


async def heed(channel: PubSub, remote: RemoteCalls) -> None:
    """Pass on messages until Redis is silent for too long, and does not answer a ping. Raises `TimeoutError`."""
    has_pinged = False
    while True:
        message = await channel.get_message(timeout=SILENT_S)
        if message is not None:
            has_pinged = False
            if message["type"] == "message":
                remote.heed(message["data"])
            elif message["type"] == "subscribe":
                remote.listens = True
        elif has_pinged:
            raise TimeoutError
        else:
            has_pinged = True
            await channel.ping()


def circuit_of(name: str, timeout_s: float) -> Circuit:
    loop = LOOPS.named(name)

    def failed(error: Exception) -> None:
        if not loop.state.failed_at:
            log.warning("%s does not answer; requests go on without it: %s", name, type(error).__name__)
        loop.failed(error, is_logged=True)

    return Circuit(timeout_s, failed, loop.is_well)


def redis_commands() -> RedisCommands:
    return RedisCommands(connect(settings.REDIS_URL), circuit_of("cache-redis", settings.LIMIT_PATIENCE_SECS), TAG)
