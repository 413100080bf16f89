"""Which project made each object that a provider stores: files, batches, vector stores and the like.

Responses, conversations and chat completions need no row here, because the ledger has their ids in an index. Objects in
this table may be used for years, longer than ledger rows are kept, and one request may name several.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple

from django.db import connection, models

from usage.event import RequestEvent
from usage.ids import MOST_KEY_CHARS

NO_PROJECT = 0
"""Stands for the project of requests without a key before there is a default project."""


class StoredObject(models.Model):
    """An object that a project made. Two projects may have made the same: some providers name files by content."""

    pk = models.CompositePrimaryKey("object_id", "project_id")
    object_id = models.CharField(max_length=MOST_KEY_CHARS, help_text="The provider's id, or the hash of a long one.")
    project_id = models.BigIntegerField()
    provider = models.CharField(max_length=64)
    credential = models.CharField(max_length=64, blank=True, help_text="Alias of the upstream credential.")
    used_at = models.DateTimeField(help_text="To a day or so; what nobody uses is forgotten.")

    class Meta:
        verbose_name = "stored object"
        indexes: ClassVar = [models.Index(fields=["used_at"], name="stored_by_use")]

    def __str__(self) -> str:
        return self.object_id


class Owner(NamedTuple):
    """Which project made an object, and when its use was last written to the database.

    `recorded_at` is in Unix seconds; None if uses of the object are not written.
    """

    provider: str
    credential: str
    project_id: int | None
    recorded_at: float | None = None


def record_stored_objects(events: Iterable[RequestEvent]) -> None:
    """Write a row for each object that these requests made or used.

    All writers write them in the same order, which prevents deadlocks.
    """
    rows: dict[tuple[str, int], tuple[str, int, str, str, str]] = {}
    for event in events:
        for key in event.made:
            project = event.project or NO_PROJECT
            moment = str(connection.ops.adapt_datetimefield_value(datetime.fromtimestamp(event.at, UTC)))
            rows[key, project] = (key, project, event.provider, event.credential, moment)
    if not rows:
        return
    table = connection.ops.quote_name(StoredObject._meta.db_table)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} (object_id, project_id, provider, credential, used_at) "  # noqa: S608 (no value in it)
            "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (object_id, project_id) DO UPDATE SET "
            "provider = excluded.provider, credential = excluded.credential, used_at = excluded.used_at",
            [rows[place] for place in sorted(rows)],
        )


def find_owners(keys: Collection[str], project_id: int | None) -> dict[str, Owner]:
    """Return the owners by object id. If several projects made an object, this project is preferred."""
    owners: dict[str, Owner] = {}
    for row in StoredObject.objects.filter(object_id__in=keys):
        if row.object_id not in owners or row.project_id == (project_id or NO_PROJECT):
            owners[row.object_id] = Owner(row.provider, row.credential, row.project_id or None, row.used_at.timestamp())
    return owners


def forget_unused(before: datetime) -> int:
    deleted, _ = StoredObject.objects.filter(used_at__lt=before).delete()
    return deleted
