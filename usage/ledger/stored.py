"""Which project made what its providers keep for it: files, batches, vector stores and the like.

Responses, conversations and chat completions need no row here: the ledger has the id of each, in an index. What is here
may be used for years, and one request may tell of several.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple

from django.db import connection, models

from usage.event import RequestEvent
from usage.ids import MOST_KEY_CHARS

NO_PROJECT = 0
"""Of requests without a key before there is a default project."""


class StoredObject(models.Model):
    """One object as one project made it. Two projects may have made one: some providers name files by their content."""

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
    """Who made an object, and when the database last heard of it (Unix seconds; None: it need not hear)."""

    provider: str
    credential: str
    project_id: int | None
    recorded_at: float | None = None


def record_stored_objects(events: Iterable[RequestEvent]) -> None:
    """Write a row for each object that these requests made or used.

    They go in one order, so that no two writers wait for each other in a circle.
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
    """Who made these; where several projects did, and this one is among them, this one."""
    owners: dict[str, Owner] = {}
    for row in StoredObject.objects.filter(object_id__in=keys):
        if row.object_id not in owners or row.project_id == (project_id or NO_PROJECT):
            owners[row.object_id] = Owner(row.provider, row.credential, row.project_id or None, row.used_at.timestamp())
    return owners


def forget_unused(before: datetime) -> int:
    deleted, _ = StoredObject.objects.filter(used_at__lt=before).delete()
    return deleted
