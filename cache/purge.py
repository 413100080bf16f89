"""Purge entries, and delete the rows of those that are purged, have expired, or exceed the bound."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum, Value
from django.db.models.functions import Left, Length
from django.db.models.lookups import Exact
from django.utils import timezone

from cache.changes import changed
from cache.models import CachedResponse, CachePurge
from cache.purges import KEPT_S, Purge

ADVISORY_LOCK = 5_713_003
TABLE = CachedResponse._meta.db_table
AT_ONCE = 500
"""Rows that one statement deletes. It is small, because others write at the same time."""

DELETED_WITH_PURGE = 10_000
"""Rows that a purge deletes itself. The task `prune-cache` deletes the rest; it is hidden at once."""

LATE = timedelta(minutes=10)
"""For so long a purge's rows are looked for again: a process that learns of it late may still write some."""


class Pruned(NamedTuple):
    purged: int
    expired: int
    beyond_bound: int


def purge(
    cache_key: str = "", project_id: int | None = None, path: str = "", model: str = ""
) -> tuple[CachePurge, int]:
    """Hide the entries to which all of this applies, in all processes, and delete their rows.

    Returns the purge, and how many rows it concerns. Raises `DatabaseError`.
    """
    with transaction.atomic():
        lock_numbers()
        made = CachePurge.objects.create(cache_key=cache_key, project_id=project_id, path=path, model=model)
        return made, in_force(made)


def forget_response(response_id: str) -> None:
    """Hide the answers that a provider stores under an id, which their client deletes. Raises `DatabaseError`.

    It is no action of an operator, so the audit log has no entry of it: `bulk_create` sends no signals.
    """
    with transaction.atomic():
        lock_numbers()
        [made] = CachePurge.objects.bulk_create([CachePurge(response_id=response_id)])
        in_force(made)


def lock_numbers() -> None:
    """Held to the end of the transaction, so that numbers become visible in their order. SQLite has one writer at a
    time anyway.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])


def in_force(made: CachePurge) -> int:
    """Delete the rows that a new purge hides, unless they are very many, and tell all processes. Returns the count."""
    count = CachedResponse.objects.filter(hidden_by(made)).count()
    if count <= DELETED_WITH_PURGE:
        delete_rows(CachedResponse.objects.filter(hidden_by(made)))
    changed.send(sender=CachePurge, ids=[made.pk])
    return count


def hidden_by(purge: CachePurge) -> Q:
    hidden = Q(purge__lt=purge.pk)
    if purge.cache_key:
        hidden &= Q(name__in=[purge.cache_key + form for form in "ps"])
    if purge.project_id is not None:
        hidden &= Q(project_id=purge.project_id)
    if purge.path:
        hidden &= begins("path", purge.path)
    if purge.model:
        hidden &= begins("model", purge.model)
    if purge.response_id:
        hidden &= Q(response_id=purge.response_id)
    return hidden


def begins(column: str, text: str) -> Q:
    """As `str.startswith`, by which processes hide entries. SQLite's LIKE, which Django uses, does not heed case."""
    return Q(Exact(Left(column, len(text)), Value(text)))


def live(now: datetime | None = None) -> QuerySet[CachedResponse]:
    """The rows that may answer a request: neither expired nor purged."""
    hiding = CachePurge.objects.filter(
        Q(cache_key="") | Q(cache_key=Left(OuterRef("name"), 64)),
        Q(project_id=None) | Q(project_id=OuterRef("project_id")),
        Q(response_id="") | Q(response_id=OuterRef("response_id")),
        path=Left(OuterRef("path"), Length(F("path"))),
        model=Left(OuterRef("model"), Length(F("model"))),
        is_done=False,
        pk__gt=OuterRef("purge"),
    )
    # One condition for all purges: with one for each of a thousand, SQLite refuses the query.
    return CachedResponse.objects.filter(~Exists(hiding), expires_at__gt=now or timezone.now())


def purges_of(ids: Iterable[int] | None = None) -> list[Purge]:
    """Those with these ids, or all that are remembered."""
    rows = CachePurge.objects.all() if ids is None else CachePurge.objects.filter(pk__in=ids)
    return [
        Purge(row.pk, row.created_at.timestamp(), row.cache_key, row.project_id, row.path, row.model, row.response_id)
        for row in rows.order_by("pk")
    ]


def prune(now: datetime | None = None) -> Pruned:
    """Raises `DatabaseError`."""
    now = now or timezone.now()
    return Pruned(delete_purged(now), delete_rows(CachedResponse.objects.filter(expires_at__lte=now)), keep_bound())


def delete_purged(now: datetime) -> int:
    """Delete the rows that purges hide, and forget old purges."""
    old = now - timedelta(seconds=KEPT_S)
    deleted = 0
    for each in CachePurge.objects.filter(Q(is_done=False) | Q(created_at__lte=old)):
        deleted += delete_rows(CachedResponse.objects.filter(hidden_by(each)))
    CachePurge.objects.filter(created_at__lte=old).exclude(pk=newest_purge()).delete()
    CachePurge.objects.filter(is_done=False, created_at__lte=now - LATE).update(is_done=True)
    return deleted


def newest_purge() -> int:
    """The number that entries of now have. The row with it stays, because SQLite may give a deleted number again."""
    return CachePurge.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def keep_bound() -> int:
    """Delete the rows that were used longest ago, where all together are larger than `HTTP_CACHE_STORE_BYTES`."""
    deleted = 0
    while True:
        beyond = (CachedResponse.objects.aggregate(bytes=Sum("size"))["bytes"] or 0) - settings.HTTP_CACHE_STORE_BYTES
        if beyond <= 0:
            return deleted
        names: list[str] = []
        for name, size in oldest_used():
            names.append(name)
            beyond -= size
            if beyond <= 0:
                break
        deleted += delete_names(names)


def oldest_used() -> list[tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT name, size FROM {TABLE} "  # noqa: S608 (a constant)
            f"ORDER BY COALESCE(last_hit_at, created_at) LIMIT {20 * AT_ONCE}"
        )
        return [(name, size) for name, size in cursor.fetchall()]


def delete_rows(rows: QuerySet[CachedResponse]) -> int:
    deleted = 0
    while names := list(rows.values_list("name", flat=True)[: 20 * AT_ONCE]):
        deleted += delete_names(names)
    return deleted


def delete_names(names: list[str]) -> int:
    """Plain SQL, because the ORM would read each row before it deletes it: the audit log listens to deletions."""
    deleted = 0
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        with connection.cursor() as cursor:
            marks = ", ".join(["%s"] * len(some))
            cursor.execute(f"DELETE FROM {TABLE} WHERE name IN ({marks})", some)  # noqa: S608 (a constant)
            deleted += cursor.rowcount
    return deleted
