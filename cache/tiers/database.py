"""Entries in the database, for all processes and for longer than any of them.

Rows are written behind requests, many at once. Reads and writes have a thread and a connection each, so that a miss
does not wait for a write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from django.db import DataError, IntegrityError, connection, transaction

from cache.entry import Entry, packed, unpacked
from cache.models import CachedResponse
from cache.names import Name, name_of, name_text
from cache.tiers.base import Found
from cache.tiers.circuit import Circuit
from cache.tiers.finder import Finder

T = TypeVar("T")

WAITING_BYTES = 32 * 1024 * 1024
WRITTEN_AT_ONCE = 100
WRITTEN_BYTES = 4 * 1024 * 1024
EVERY_S = 0.2
HITS_EVERY_S = 5.0
HITS_KEPT = 10_000
"""Entries whose hits wait to be written. Further hits are counted in the ledger alone."""

UNFIT = (DataError, IntegrityError, ValueError)
"""Errors about a row. All others are about the database: it is away, read-only, or lacks something."""

TABLE = CachedResponse._meta.db_table
COLUMNS = (
    "name",
    "project_id",
    "path",
    "model",
    "provider_id",
    "served_model",
    "stream",
    "request_id",
    "response_id",
    "created_at",
    "expires_at",
    "purge",
    "size",
    "packed",
)
INSERT = (
    f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))}) "  # noqa: S608 (constants)
    "ON CONFLICT (name) DO UPDATE SET hit_count = 0, last_hit_at = NULL, "
    + ", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS[1:])
)
COUNT_HITS = f"UPDATE {TABLE} SET hit_count = hit_count + %s, last_hit_at = %s WHERE name = %s"  # noqa: S608


class Runs(Protocol):
    """`proxy.configuration.database_thread.DatabaseThread`: does work in a thread that has a connection."""

    def run(self, work: Callable[[], T], *, retry: bool = True) -> Awaitable[T]: ...


class DatabaseTier:
    """`write_waiting` is repeated by a loop; `dropped` is called for each entry that is not stored."""

    name = "database"

    def __init__(self, reads: Runs, writes: Runs, circuit: Circuit, dropped: Callable[[], None]) -> None:
        self._writes, self._dropped = writes, dropped
        self._finder = Finder(lambda digests: reads.run(lambda: read_rows(digests)), circuit, goes_on=True)
        self._waiting: dict[Name, Entry] = {}
        self._waiting_bytes = 0
        self._hits: dict[Name, tuple[int, float]] = {}
        self._hits_since = 0.0
        self._wake = asyncio.Event()

    async def find(self, digest: str) -> Found:
        return await self._finder.find(digest)

    def put(self, name: Name, entry: Entry) -> None:
        replaced = self._waiting.pop(name, None)
        if replaced is not None:
            self._waiting_bytes -= replaced.size
        if self._waiting_bytes + entry.size > WAITING_BYTES:
            self._dropped()
            return
        self._waiting[name] = entry
        self._waiting_bytes += entry.size
        self._wake.set()

    def count_hit(self, name: Name, now: float) -> None:
        if not self._hits:
            self._hits_since = time.monotonic()
            asyncio.get_running_loop().call_later(HITS_EVERY_S, self._wake.set)
        count, _ = self._hits.get(name, (0, 0.0))
        if count or len(self._hits) < HITS_KEPT:
            self._hits[name] = count + 1, now

    async def write_waiting(self) -> None:
        """Wait for something to write, and write it. Raises what the database raises; all that waits then stays."""
        await self._wake.wait()
        await asyncio.sleep(EVERY_S)  # what comes meanwhile goes with it
        self._wake.clear()
        try:
            await self.write_all(hits_too=time.monotonic() - self._hits_since >= HITS_EVERY_S)
        except Exception:
            self._wake.set()
            raise

    async def write_all(self, *, hits_too: bool = True) -> None:
        """Raises what the database raises. What it refuses is dropped, what it cannot take at the moment waits."""
        while self._waiting:
            entries = self._next()
            rows = [row_of(name, entry) for name, entry in entries.items()]
            try:
                await self._writes.run(lambda: write_rows(INSERT, rows))  # noqa: B023 (it is awaited)
            except UNFIT:
                for _ in entries:
                    self._dropped()
                self._written(entries)
                raise
            self._written(entries)
        if hits_too and self._hits:
            hits, self._hits = self._hits, {}
            counted = [(count, moment(at), name_text(name)) for name, (count, at) in sorted(hits.items())]
            try:
                await self._writes.run(lambda: write_rows(COUNT_HITS, counted))
            except Exception:
                for name, (count, at) in hits.items():
                    since, later = self._hits.get(name, (0, at))
                    self._hits[name] = count + since, later
                raise

    async def close(self) -> None:
        await self._finder.close()

    def _written(self, entries: Mapping[Name, Entry]) -> None:
        for name, entry in entries.items():
            if self._waiting.get(name) is entry:
                del self._waiting[name]
                self._waiting_bytes -= entry.size

    def _next(self) -> dict[Name, Entry]:
        """In the order of their names, so that processes which write the same rows do not lock each other out."""
        some: dict[Name, Entry] = {}
        size = 0
        for name, entry in self._waiting.items():
            some[name] = entry
            size += entry.size
            if len(some) == WRITTEN_AT_ONCE or size >= WRITTEN_BYTES:
                break
        return dict(sorted(some.items()))


def read_rows(digests: Sequence[str]) -> Mapping[str, Found]:
    names = [name_text((digest, is_stream)) for digest in digests for is_stream in (False, True)]
    with connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(names))
        cursor.execute(f"SELECT name, packed FROM {TABLE} WHERE name IN ({marks})", names)  # noqa: S608 (a constant)
        rows = cursor.fetchall()
    found: dict[str, dict[bool, Entry]] = {}
    for text, data in rows:
        entry = unpacked(bytes(data))
        if entry is not None:
            digest, is_stream = name_of(text)
            found.setdefault(digest, {})[is_stream] = entry
    return found


def row_of(name: Name, entry: Entry) -> tuple[Any, ...]:
    about = entry.about
    return (
        name_text(name),
        about.project_id,
        about.path[:64],
        about.model[:255],
        entry.provider_id,
        entry.model[:255],
        name[1],
        about.request_id,
        about.response_id,
        moment(entry.created_at),
        moment(entry.expires_at),
        about.purge,
        entry.size,
        packed(entry),
    )


def write_rows(statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(statement, rows)


def moment(unix_s: float) -> Any:
    """As the database takes it in plain SQL."""
    return connection.ops.adapt_datetimefield_value(datetime.fromtimestamp(unix_s, UTC))
