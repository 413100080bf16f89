"""The requests' table in PostgreSQL: a partition for each week, so that old weeks are dropped instead of deleted.

The partitions are ranges of ids, which are in the order of time. So `id` stays the primary key, and a row that comes
twice is found by it. Rejected: ranges of created_at. The primary key would have to contain both columns, and a copy of
a row with another time would be a second row. A default partition takes rows that belong to no other, such as those of
a week whose partition was not made. So a missing partition never stops the ledger.

Rejected: a partition for each day. A query without bounds takes a lock on every partition and its indexes. By default
PostgreSQL has room for some six thousand locks, which four such queries use up on a year of days.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from django.db import OperationalError, connection, transaction

from usage.ids import EPOCH, id_at, time_of

TABLE = "usage_requestrecord"
DEFAULT = f"{TABLE}_default"
WEEK = timedelta(days=7)
FIRST_MONDAY = EPOCH + timedelta(days=4)
WEEKS_AHEAD = 4

LOCK_TIMEOUT_MS = 500
"""The longest time that the ledger and its readers may have to wait behind a change of partitions."""

BUSY = frozenset({"55P03", "40P01"})
"""PostgreSQL's codes of a lock that is not available in time, and of a deadlock. psycopg's classes are not used because
importing it takes eight megabytes, also with SQLite.
"""

TRIES = 20
PAUSE_S = 0.5

T = TypeVar("T")
_BOUNDS = re.compile(r"FOR VALUES FROM \('([^']*)'\) TO \('([^']*)'\)")


class TableBusy(Exception):
    """The table was in use for too long. Nothing was changed; try again later."""


class Partition(NamedTuple):
    """The partition of the ids from `first`, included, to `end`, excluded."""

    name: str
    first: str
    end: str


def week_of(moment: datetime) -> datetime:
    """Return the beginning of a moment's week: Monday, midnight UTC."""
    return FIRST_MONDAY + (moment - FIRST_MONDAY) // WEEK * WEEK


def partition_of(week: datetime) -> Partition:
    return Partition(f"{TABLE}_{week:%Y%m%d}", id_at(week), id_at(week + WEEK))


def partitions() -> list[Partition]:
    """Return the existing partitions, oldest first, without the default one. There are none on SQLite."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT child.relname, pg_get_expr(child.relpartbound, child.oid) FROM pg_inherits "
            "JOIN pg_class child ON child.oid = inhrelid WHERE inhparent = %s::regclass",
            [TABLE],
        )
        bounds_by_name = [(name, _BOUNDS.fullmatch(bounds)) for name, bounds in cursor.fetchall()]
    return sorted(
        (Partition(name, *match.groups()) for name, match in bounds_by_name if match), key=lambda each: each.first
    )


def make_ahead(now: datetime | None = None) -> list[str]:
    """Make the missing partitions of this week and the next `WEEKS_AHEAD`. Returns the names of the new ones.

    Rows of these weeks that are in the default partition are moved. Raises `TableBusy`, `DatabaseError`.
    """
    first = week_of(now or datetime.now(UTC))
    wanted = [partition_of(first + number * WEEK) for number in range(WEEKS_AHEAD + 1)]
    if connection.vendor != "postgresql":
        return []
    return [partition.name for partition in missing(wanted) if patiently(lambda new=partition: make(new))]  # type: ignore[misc]


def missing(wanted: list[Partition]) -> Iterator[Partition]:
    there = partitions()
    for partition in wanted:
        if not any(other.first < partition.end and partition.first < other.end for other in there):
            yield partition


def make(partition: Partition) -> bool:
    """Make a partition in one transaction. Return False if another process has made it meanwhile.

    Writers wait for it: one that has chosen the default partition for its row would get an error if the row belonged
    to the new partition by then.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        cursor.execute(f"LOCK TABLE ONLY {TABLE} IN SHARE ROW EXCLUSIVE MODE")
        if not list(missing([partition])):
            return False
        create(cursor, partition)
    return True


def create(cursor: Any, partition: Partition) -> None:
    name, first, end = partition
    cursor.execute(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING ALL)")
    cursor.execute(f"SELECT to_regclass('{DEFAULT}')")
    if cursor.fetchone()[0] is not None:
        cursor.execute(f"LOCK TABLE {DEFAULT} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(
            f"WITH moved AS (DELETE FROM {DEFAULT} WHERE id >= %s AND id < %s RETURNING *) "  # noqa: S608
            f"INSERT INTO {name} SELECT * FROM moved",
            [first, end],
        )
    # Attached after it was made: CREATE TABLE ... PARTITION OF would lock out all readers.
    cursor.execute(f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')")


def drop_before(moment: datetime) -> list[str]:
    """Drop the partitions whose rows are all older. Returns their names. Raises `TableBusy`, `DatabaseError`."""
    dropped = []
    for partition in partitions():
        end = time_of(partition.end)
        if end is not None and end <= moment:
            patiently(lambda name=partition.name: drop(name))  # type: ignore[misc]
            dropped.append(partition.name)
    return dropped


def drop(name: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        cursor.execute(f"DROP TABLE IF EXISTS {connection.ops.quote_name(name)}")


def patiently(change: Callable[[], T]) -> T:
    """Try a change until it gets its lock. Each try waits only briefly, because all others queue behind a waiter.

    Raises `TableBusy` after `TRIES` tries.
    """
    for _ in range(TRIES):
        try:
            return change()
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) not in BUSY:
                raise
        time.sleep(PAUSE_S)
    raise TableBusy(
        f"{TABLE} was in use all the time for {TRIES * (PAUSE_S + LOCK_TIMEOUT_MS / 1000):.0f} s; nothing was changed. "
        "Look for a long transaction (pg_stat_activity), or try again later."
    )
