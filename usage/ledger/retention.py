"""Forget requests that are older than REQUEST_RETENTION_DAYS. What was spent stays: the totals are not made from rows.

PostgreSQL drops whole weeks, so that a row stays up to a week longer than asked for, and nothing has to be deleted and
vacuumed while the ledger is written. What is in no week, and all of SQLite, is deleted in small batches, each of them a
transaction: the ledger waits for one at most.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from usage.ids import AFTER_ALL, PREFIX, id_at
from usage.ledger.partitions import DEFAULT, TABLE, drop_before
from usage.ledger.stored import forget_unused

BATCH = 1_000


class PruneResult(NamedTuple):
    """The partitions that were dropped, and how many rows were deleted beside them."""

    partitions: list[str]
    rows: int


def prune_requests(now: datetime | None = None, days: int | None = None) -> PruneResult:
    """Forget what is older than so many days (REQUEST_RETENTION_DAYS; 0: nothing is forgotten).

    Raises `partitions.TableBusy`, `DatabaseError`; what was dropped and deleted until then stays so.
    """
    is_by_setting = days is None
    days = settings.REQUEST_RETENTION_DAYS if days is None else days
    if not days:
        return PruneResult([], 0)
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    if is_by_setting:  # who is short of room for once does not mean to lose files that are in use
        forget_unused(before)
    dropped = drop_before(before)
    return PruneResult(dropped, delete_before(before, DEFAULT if connection.vendor == "postgresql" else TABLE))


def delete_before(before: datetime, table: str) -> int:
    """Rows that Sluice made by their id, which has an index, and any others by their time."""
    moment = str(connection.ops.adapt_datetimefield_value(before))
    return (
        delete(table, "id >= %s AND id < %s", [PREFIX, id_at(before)])
        + delete(table, "id < %s AND created_at < %s", [PREFIX, moment])
        + delete(table, "id >= %s AND created_at < %s", [AFTER_ALL, moment])
    )


def delete(table: str, condition: str, values: list[str]) -> int:
    some = f"SELECT id FROM {table} WHERE {condition} ORDER BY id LIMIT {BATCH}"  # noqa: S608 (no value in it)
    deleted: int = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE id IN ({some})", values)  # noqa: S608
            deleted += cursor.rowcount
            if cursor.rowcount < BATCH:
                return deleted
