"""The configuration that this process keeps in memory: keys, projects, providers and prices. It follows changes.

Projects and providers are few, and all are kept. There may be a million keys, so only those in use are kept, up to a
bound. A key that is not in memory is looked up in the database. Look-ups that wait share one query, and one query runs
at a time, so a flood of made-up keys costs the database no more than a trickle of them.

Every change writes a row in the database (`changes.py`). These rows are read about twice a second, and at once if Redis
tells of one or this process wrote one itself. They also make a late answer harmless: if a change is read while a key is
looked up, the key is looked up again.

Changes are read in a thread of their own, so that a slow look-up cannot keep a revoked key alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import DatabaseError

from cache.purges import Purge
from keys.limits.scope import Scopes
from keys.models import DEFAULT_PROJECT
from keys.records import KeyRecord, ProjectRecord, load_keys
from keys.scopes import any_budget
from providers.catalog import Catalog
from proxy.configuration.changes import CHANNEL, listeners
from proxy.configuration.changes_feed import ChangedKeys, ConfigurationChanges, read_changes, read_everything
from proxy.configuration.database_thread import DatabaseThread
from proxy.configuration.origins import AnyOrigin, origins_of
from proxy.errors import Unavailable
from proxy.wire.headers import keep_here
from usage.loops import LOOPS, end_tasks
from usage.prices.book import Prices

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

log = logging.getLogger("sluice.snapshot")
T = TypeVar("T")

LOOK_EVERY_S = 0.4
HEARTBEAT_S = 2.0
"""A query for changes that takes longer counts as unanswered: the connection is cut, and another one made."""
READ_WITHIN_S = 0.5
"""How long a change of this process waits to be in force here. If the database is slower, it is in force later."""

MISSING_KEPT = 50_000
KEYS_IN_ONE_QUERY = 500


class Snapshot:
    """Every request reads it without waiting. It is written only on the event loop's thread."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.prices = Prices()
        self.projects: dict[int, ProjectRecord] = {}
        self.default_project: ProjectRecord | None = None
        self.origins: AnyOrigin | None = None
        """The origins of browser pages that any project allows."""
        self.global_scopes: Scopes = ()
        self.everyone_is_bound = False
        """There is a budget for all requests together."""
        self.version = 0
        self.database_ok = True
        self._keys: OrderedDict[str, KeyRecord] = OrderedDict()
        # A key that was rotated has more than one public id.
        self._public_ids: dict[int, tuple[str, ...]] = {}
        self._missing: OrderedDict[str, None] = OrderedDict()
        self._wanted: dict[str, asyncio.Future[KeyRecord | None]] = {}
        self.problems: dict[str, list[str]] = {}
        """What cannot be compiled in each part of the configuration, and so is not in force."""
        self._changes = DatabaseThread("changes", HEARTBEAT_S, self._feed_is_silent)
        self._feed = LOOPS.named("change-feed")
        self._channel = LOOPS.named("change-channel")
        self._look_ups = DatabaseThread("look-ups", settings.DATABASE_TIMEOUT_SECS)
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._ask = asyncio.Event()
        self._waiting: list[threading.Event] = []
        self._purges: list[Purge] = []
        self._tell_purges: Callable[[list[Purge]], object] | None = None

    def tell_purges(self, tell: Callable[[list[Purge]], object]) -> None:
        """Call `tell` with what was purged of the response cache: what is known now at once, and then each purge."""
        self._tell_purges = tell
        tell(self._purges)
        self._purges = []

    async def start(self) -> None:
        """Load everything once. Raises what the database raises: without a configuration there is nothing to serve."""
        self._loop, self._loops_thread = asyncio.get_running_loop(), threading.get_ident()
        listeners.append(self.wake)
        self._apply(await self._changes.run(read_everything, retry=False))
        self._confirmed_at = time.monotonic()
        self._feed.is_well()
        steps = {"changes": self._follow, "key-lookups": self._look_up}
        self._tasks = [asyncio.create_task(LOOPS.named(name, needed=True).run(step)) for name, step in steps.items()]
        if settings.REDIS_URL:
            self._tasks.append(asyncio.create_task(self._channel.run(self._listen)))

    def wake(self) -> Callable[[], object]:
        """Read the changes soon. Callable from any thread. Returns a function that waits until they have been read, so
        that a change is in force in this process before its author is told of it. On the event loop's own thread that
        function does not wait.
        """
        read = threading.Event()
        self._loop.call_soon_threadsafe(self._look_for, read)
        return read.is_set if threading.get_ident() == self._loops_thread else partial(read.wait, READ_WITHIN_S)

    def _look_for(self, read: threading.Event) -> None:
        self._waiting.append(read)
        self._wake.set()

    async def stop(self) -> None:
        listeners.remove(self.wake)
        await end_tasks(self._tasks)
        await self._changes.close()
        await self._look_ups.close()

    # --- what requests ask ------------------------------------------------------------------------------

    def cached_key(self, public_id: str) -> KeyRecord | None:
        """The key, if it is in memory."""
        key = self._keys.get(public_id)
        if key is not None:
            self._keys.move_to_end(public_id)
        return key

    async def find_key(self, public_id: str) -> KeyRecord | None:
        """The key, or None if there is none. Raises `Unavailable` while the database does not answer."""
        if public_id in self._missing:
            return None
        future = self._wanted.get(public_id)
        if future is None:
            future = self._wanted[public_id] = asyncio.get_running_loop().create_future()
            self._ask.set()
        return await asyncio.shield(future)

    # --- looking keys up --------------------------------------------------------------------------------

    async def _look_up(self) -> None:
        await self._ask.wait()
        self._ask.clear()
        while self._wanted:
            public_ids = list(self._wanted)[:KEYS_IN_ONE_QUERY]
            version = self.version
            unreadable: set[str] = set()
            try:
                records = await self.run(partial(load_keys, public_ids, unreadable))
            except DatabaseError:
                self._refuse(public_ids)
                continue
            except BaseException:
                self._refuse(public_ids)  # else the requests that wait for them would wait for ever
                raise
            if version != self.version:
                continue  # a change was read in between: the records may be from before it
            self._refuse(unreadable)
            for public_id in public_ids:
                future = self._wanted.pop(public_id, None)
                if future is None:
                    continue
                key, project = records.get(public_id, (None, None))
                if project is not None:
                    self.projects.setdefault(project.id, project)  # it may be as new as the key
                self._remember(public_id, key)
                future.set_result(key)

    def _refuse(self, public_ids: Iterable[str]) -> None:
        for public_id in public_ids:
            future = self._wanted.pop(public_id)
            future.set_exception(
                Unavailable(
                    "database_unavailable",
                    "The gateway cannot look this key up at the moment. Try again shortly.",
                    headers=[(b"retry-after", b"1")],
                )
            )
            future.exception()  # marks it as retrieved: the request that asked may be gone by now

    def _remember(self, public_id: str, key: KeyRecord | None) -> None:
        if key is None:
            self._missing[public_id] = None
            if len(self._missing) > MISSING_KEPT:
                self._missing.popitem(last=False)
            return
        self._keys[public_id] = key
        public_ids = self._public_ids.get(key.id, ())
        if public_id not in public_ids:
            self._public_ids[key.id] = (*public_ids, public_id)
        if len(self._keys) > settings.KEY_CACHE_SIZE:
            oldest, its_key = self._keys.popitem(last=False)
            rest = tuple(other for other in self._public_ids.pop(its_key.id, ()) if other != oldest)
            if rest:
                self._public_ids[its_key.id] = rest

    def _forget(self, changed: ChangedKeys) -> None:
        """Drop these keys, so that they are looked up again when needed. A change has a key's id, no public ids."""
        ids = set(changed.ids)
        if any(changed[1:]):
            ids.update(key.id for key in self._keys.values() if changed.belong_to_changed(key))
        for key_id in ids:
            for public_id in self._public_ids.pop(key_id, ()):
                self._keys.pop(public_id, None)

    # --- following changes ------------------------------------------------------------------------------

    async def _follow(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._wake.wait()
        self._wake.clear()
        waiting, self._waiting = self._waiting, []
        try:
            await self._look()
        finally:
            for read in waiting:
                read.set()

    async def _look(self) -> None:
        try:
            changes = await self._changes.run(lambda: read_changes(self.version))
        except DatabaseError as error:
            if self.database_ok:
                log.warning("The database does not answer; serving what is known: %s", type(error).__name__)
            self.database_ok = False
            if time.monotonic() - self._confirmed_at >= HEARTBEAT_S:
                self._feed_is_silent(error)
            return
        if not self.database_ok:
            log.warning("The database answers again.")
        self.database_ok = True
        self._confirmed_at = time.monotonic()
        self._feed.is_well()
        if changes is not None:
            self._apply(changes)

    def _feed_is_silent(self, error: BaseException) -> None:
        """It is unknown whether anything has changed. Known keys are served for as long as it lasts (P35)."""
        if not self._feed.state.failed_at:
            self._feed.failed(error)

    def _apply(self, changes: ConfigurationChanges) -> None:
        """Put in force what was read. This runs on the event loop's thread, so that no request sees half of it."""
        if changes.catalog is not None:
            self.catalog = changes.catalog
            keep_here(changes.catalog.credential_headers)
        if changes.prices is not None:
            self.prices = changes.prices
        if changes.projects is not None:
            self.projects = changes.projects
            self.origins = origins_of(self.projects.values())
            self.default_project = next((p for p in self.projects.values() if p.name == DEFAULT_PROJECT), None)
        if changes.all_keys:
            self._keys.clear()
            self._public_ids.clear()
        self._forget(changes.keys)
        if changes.global_scopes is not None:
            self.global_scopes = changes.global_scopes
            self.everyone_is_bound = any_budget(changes.global_scopes)
        if changes.all_keys or changes.keys.ids:
            self._missing.clear()
        if changes.purges and self._tell_purges is not None:
            self._tell_purges(changes.purges)
        elif settings.HTTP_CACHE_ENABLED:
            self._purges += changes.purges
        self.problems = {**self.problems, **changes.problems}
        self.version = changes.version

    async def _listen(self) -> None:
        """Look for changes at once when another process tells of one through Redis. Connects again after each failure.

        It does not return while Redis is away, because a return would count as being well.
        """
        import redis.asyncio
        from redis.exceptions import RedisError

        while True:
            try:
                async with (
                    redis.asyncio.Redis.from_url(
                        settings.REDIS_URL, socket_timeout=HEARTBEAT_S, socket_connect_timeout=HEARTBEAT_S
                    ) as client,
                    client.pubsub() as channel,
                ):
                    await channel.subscribe(CHANNEL)
                    self._channel.is_well()
                    self._wake.set()  # messages before the subscription were missed
                    await self._heed(channel)
            except (RedisError, OSError) as error:
                if not self._channel.state.failed_at:
                    log.warning("Redis does not tell of changes; looking for them alone: %s", type(error).__name__)
                self._channel.failed(error, is_logged=True)
                await asyncio.sleep(LOOK_EVERY_S)

    async def _heed(self, channel: PubSub) -> None:
        """Receive messages until Redis is silent for too long, and does not answer a ping. Raises `TimeoutError`."""
        has_pinged = False
        while True:
            message = await channel.get_message(timeout=HEARTBEAT_S)
            if message is not None:
                has_pinged = False
                if message["type"] == "message":
                    self._wake.set()
            elif has_pinged:
                raise TimeoutError
            else:
                has_pinged = True
                await channel.ping()

    async def run(self, work: Callable[[], T], *, retry: bool = True) -> T:
        """Do some work with the database in the thread for look-ups. Raises what `DatabaseThread.run` raises."""
        return await self._look_ups.run(work, retry=retry)
