"""Delete requests that are older than REQUEST_RETENTION_DAYS. The totals stay, because they are not made from rows.

On PostgreSQL whole weeks are dropped. A row stays up to a week longer than configured, but nothing has to be deleted
and vacuumed while the ledger is written. Rows of the default partition, and all rows on SQLite, are deleted in small
batches. Each batch is a transaction, so the ledger waits for one batch at most.
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
    """The names of the partitions that were dropped, and how many other rows were deleted."""

    partitions: list[str]
    rows: int


def prune_requests(now: datetime | None = None, days: int | None = None) -> PruneResult:
    """Delete requests older than `days`; by default REQUEST_RETENTION_DAYS. With 0 nothing is deleted.

    Raises `partitions.TableBusy`, `DatabaseError`. What was dropped and deleted before the error stays deleted.
    """
    is_by_setting = days is None
    days = settings.REQUEST_RETENTION_DAYS if days is None else days
    if not days:
        return PruneResult([], 0)
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    if is_by_setting:  # `days` is for a lack of disk space: it must not forget the owners of objects in use
        forget_unused(before)
    dropped = drop_before(before)
    return PruneResult(dropped, delete_before(before, DEFAULT if connection.vendor == "postgresql" else TABLE))


def delete_before(before: datetime, table: str) -> int:
    """Delete rows older than `before`. Sluice's own ids contain the time and have an index; other rows go by time."""
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
