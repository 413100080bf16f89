"""Delete old captured bodies."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

AT_ONCE = 500
"""Rows that one statement deletes. It is small, because rows are large and others write at the same time."""

TABLE = "usage_requestbodies"


def prune_bodies(now: datetime | None = None) -> int:
    """Delete bodies older than `BODY_RETENTION_DAYS`. Return how many rows were deleted. Raises `DatabaseError`."""
    before = (now or timezone.now()) - timedelta(days=settings.BODY_RETENTION_DAYS)
    moment = connection.ops.adapt_datetimefield_value(before)
    # Plain SQL, because the ORM would read each row before it deletes it: the audit log listens to deletions.
    statement = (
        f"DELETE FROM {TABLE} WHERE id IN "  # noqa: S608 (a constant)
        f"(SELECT id FROM {TABLE} WHERE created_at < %s ORDER BY created_at LIMIT {AT_ONCE})"
    )
    deleted = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(statement, [moment])
            gone: int = cursor.rowcount
        deleted += gone
        if gone < AT_ONCE:
            return deleted
