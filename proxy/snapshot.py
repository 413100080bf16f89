"""What this process knows of keys, projects and providers, and how changes reach it.

Projects and providers are few and kept whole. Keys may be a million, so the ones in use are kept, up to a bound; a
key that is not among them is looked up, many at a time in one query, one query at a time: a flood of made-up keys
costs the database no more than a trickle of them.

Every change leaves a note in the database (`changes.py`). The notes are read twice a second, and at once when Redis
says that there is one or this process wrote one itself. That is also what makes a late answer harmless: what was looked
up before a note was read, and arrives after it, is looked up again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, connection

from keys.limits.scope import Scope
from keys.models import DEFAULT_PROJECT
from keys.records import KeyRecord, ProjectRecord, load_keys
from keys.scopes import any_budget
from providers.catalog import Catalog
from proxy.changes import CHANNEL, listeners
from proxy.cors import AnyOrigin, origins_of
from proxy.errors import Unavailable
from proxy.news import ChangedKeys, News, read_everything, read_news
from usage.prices.book import Prices

log = logging.getLogger("sluice.snapshot")
T = TypeVar("T")

LOOK_EVERY_S = 0.4
READ_WITHIN_S = 0.5
"""Of a change in this process; it is in force a little later where the database is that slow."""

MISSING_KEPT = 50_000
KEYS_IN_ONE_QUERY = 500


class Snapshot:
    """Read by every request, without waiting; written by `_apply` and `_remember` alone."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.prices = Prices()
        self.projects: dict[int, ProjectRecord] = {}
        self.default_project: ProjectRecord | None = None
        self.origins: AnyOrigin | None = None
        """Of pages in browsers, that any project allows."""
        self.global_scopes: tuple[Scope, ...] = ()
        self.everyone_is_bound = False
        """There is a budget for all requests together."""
        self.version = 0
        self.database_ok = True
        self._keys: OrderedDict[str, KeyRecord] = OrderedDict()
        # More than one public id for a key that was rotated.
        self._public_ids: dict[int, tuple[str, ...]] = {}
        self._missing: OrderedDict[str, None] = OrderedDict()
        self._wanted: dict[str, asyncio.Future[KeyRecord | None]] = {}
        # One thread with one database connection, used by nothing else of the data plane.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot")
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._ask = asyncio.Event()
        self._waiting: list[threading.Event] = []

    async def start(self) -> None:
        """Load everything once. Raises what the database raises: without a configuration there is nothing to serve."""
        self._loop, self._loops_thread = asyncio.get_running_loop(), threading.get_ident()
        listeners.append(self.wake)
        self._apply(await self.run(read_everything, retry=False))
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._look_up())]
        if settings.REDIS_URL:
            self._tasks.append(asyncio.create_task(self._listen()))

    def wake(self) -> Callable[[], object]:
        """There is a note to read. Callable from any thread. What it returns waits until that was read, so that who is
        told of a change finds it in force in this process; on the event loop's own thread nothing waits.
        """
        read = threading.Event()
        self._loop.call_soon_threadsafe(self._look_for, read)
        return read.is_set if threading.get_ident() == self._loops_thread else partial(read.wait, READ_WITHIN_S)

    def _look_for(self, read: threading.Event) -> None:
        self._waiting.append(read)
        self._wake.set()

    async def stop(self) -> None:
        listeners.remove(self.wake)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.submit(_disconnect)
        self._thread.shutdown(wait=True)

    # --- what requests ask ------------------------------------------------------------------------------

    def known_key(self, public_id: str) -> KeyRecord | None:
        """The key, if it is in memory."""
        key = self._keys.get(public_id)
        if key is not None:
            self._keys.move_to_end(public_id)
        return key

    async def find_key(self, public_id: str) -> KeyRecord | None:
        """The key, or None when there is none. Raises `Unavailable` while the database cannot tell."""
        if public_id in self._missing:
            return None
        future = self._wanted.get(public_id)
        if future is None:
            future = self._wanted[public_id] = asyncio.get_running_loop().create_future()
            self._ask.set()
        return await asyncio.shield(future)

    # --- looking keys up --------------------------------------------------------------------------------

    async def _look_up(self) -> None:
        while True:
            await self._ask.wait()
            self._ask.clear()
            while self._wanted:
                asked = list(self._wanted)[:KEYS_IN_ONE_QUERY]
                version = self.version
                try:
                    found = await self.run(partial(load_keys, asked))
                except DatabaseError:
                    self._refuse(asked)
                    continue
                if version != self.version:
                    continue  # a note came in between: what was read may be what the note took back
                for public_id in asked:
                    key, project = found.get(public_id, (None, None))
                    if project is not None:
                        self.projects.setdefault(project.id, project)  # made a moment ago, with the key
                    self._remember(public_id, key)
                    self._wanted.pop(public_id).set_result(key)

    def _refuse(self, asked: Iterable[str]) -> None:
        for public_id in asked:
            future = self._wanted.pop(public_id)
            future.set_exception(
                Unavailable(
                    "database_unavailable",
                    "The gateway cannot look this key up at the moment. Try again shortly.",
                    headers=[(b"retry-after", b"1")],
                )
            )
            future.exception()  # whoever asked may be gone by now

    def _remember(self, public_id: str, key: KeyRecord | None) -> None:
        if key is None:
            self._missing[public_id] = None
            if len(self._missing) > MISSING_KEPT:
                self._missing.popitem(last=False)
            return
        self._keys[public_id] = key
        known = self._public_ids.get(key.id, ())
        if public_id not in known:
            self._public_ids[key.id] = (*known, public_id)
        if len(self._keys) > settings.KEY_CACHE_SIZE:
            oldest, its_key = self._keys.popitem(last=False)
            rest = tuple(other for other in self._public_ids.pop(its_key.id, ()) if other != oldest)
            if rest:
                self._public_ids[its_key.id] = rest

    def _forget(self, changed: ChangedKeys) -> None:
        """Look them up again when they are next asked for. A note speaks of a key, not of its public ids."""
        ids = set(changed.ids)
        if any(changed[1:]):
            ids.update(key.id for key in self._keys.values() if changed.belong_to_changed(key))
        for key_id in ids:
            for public_id in self._public_ids.pop(key_id, ()):
                self._keys.pop(public_id, None)

    # --- following changes ------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_EVERY_S)
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            await self._look()
            for read in waiting:
                read.set()

    async def _look(self) -> None:
        try:
            news = await self.run(lambda: read_news(self.version))
        except DatabaseError as error:
            if self.database_ok:
                log.warning("The database does not answer; serving what is known: %s", type(error).__name__)
            self.database_ok = False
            return
        if not self.database_ok:
            log.warning("The database answers again.")
        self.database_ok = True
        if news is not None:
            self._apply(news)

    def _apply(self, news: News) -> None:
        """Take in what was read. On the event loop's thread, so that no request sees half of it."""
        if news.catalog is not None:
            self.catalog = news.catalog
        if news.prices is not None:
            self.prices = news.prices
        if news.projects is not None:
            self.projects = news.projects
            self.origins = origins_of(self.projects.values())
            self.default_project = next((p for p in self.projects.values() if p.name == DEFAULT_PROJECT), None)
        if news.all_keys:
            self._keys.clear()
            self._public_ids.clear()
        self._forget(news.keys)
        if news.global_scopes is not None:
            self.global_scopes = news.global_scopes
            self.everyone_is_bound = any_budget(news.global_scopes)
        if news.all_keys or news.keys.ids:
            self._missing.clear()
        self.version = news.version

    async def _listen(self) -> None:
        """Look at once when another process says that it changed something."""
        import redis.asyncio
        from redis.exceptions import RedisError

        was_there = True
        while True:
            try:
                async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    if not was_there:
                        log.info("Redis tells of changes again.")
                    was_there = True
                    self._wake.set()  # what was said in the meantime was not heard
                    async for _ in pubsub.listen():
                        self._wake.set()
            except (RedisError, OSError) as error:
                if was_there:
                    log.warning("Redis does not tell of changes; looking for them alone: %s", type(error).__name__)
                was_there = False
                await asyncio.sleep(LOOK_EVERY_S)

    async def run(self, work: Callable[[], T], *, retry: bool = True) -> T:
        """Do some work with the database in this snapshot's thread. Raises what the work raises, after a second try."""

        def guarded() -> T:
            try:
                return work()
            except DatabaseError:
                connection.close()  # a broken connection is not used twice
                if not retry:
                    raise
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)


def _disconnect() -> None:
    """Called in the snapshot's thread: each thread has a connection of its own, behind the same name."""
    connection.close()
