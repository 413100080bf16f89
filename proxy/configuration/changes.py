"""Writes the change feed: a row for each change of the configuration, so that every process learns of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.db import connection, models, transaction

from proxy.models import ConfigChange

listeners: list[Callable[[], Callable[[], object]]] = []
"""Called after a change of this process is committed. Each returns a function that waits until it is in force here."""

KEPT = 10_000
"""Changes that are kept. A process that is further behind reads all of the configuration anew."""

EVERYTHING = "everything"
"""The subject of a change after which every process reads all of the configuration anew."""

ADVISORY_LOCK = 5_713_001
CHANNEL = "sluice:config"
"""The Redis channel that tells processes to look for changes at once."""


def record(sender: type[models.Model], ids: list[int], **_: Any) -> None:
    """A receiver of the apps' `changed` signals."""
    if ids:
        write_changes(sender._meta.model_name or "", ids)


def reload_everything() -> None:
    """Have every process read all of the configuration anew, as after a restart."""
    write_changes(EVERYTHING, [0])


_waiting: ContextVar[list[tuple[str, list[int]]] | None] = ContextVar("changes that wait", default=None)


@contextmanager
def changes_written_last() -> Iterator[Callable[[], None]]:
    """Delay the writing of changes until the yielded function is called, at the end of a transaction.

    Writing a change takes a lock that every change needs. If it were taken in the middle of a transaction, one request
    could take it before the locks of rows and another after them, and they would deadlock.
    """
    token = _waiting.set([])
    try:
        yield write_pending
    finally:
        _waiting.reset(token)


def write_pending() -> None:
    waiting = _waiting.get()
    if waiting:
        changes = [(subject, pk) for subject, ids in waiting for pk in ids]
        waiting.clear()
        _write(list(dict.fromkeys(changes)))


def write_changes(subject: str, ids: list[int]) -> None:
    waiting = _waiting.get()
    if waiting is None:
        _write([(subject, pk) for pk in ids])
    else:
        waiting.append((subject, list(ids)))


def _write(changes: list[tuple[str, int]]) -> None:
    with transaction.atomic():
        if connection.vendor == "postgresql":
            # The lock is held to the end of the transaction, so that rows become visible in the order of their ids.
            # SQLite has one writer at a time anyway.
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        ConfigChange.objects.bulk_create([ConfigChange(subject=subject, object_id=pk) for subject, pk in changes])
        newest = _newest()
        if newest % 100 < len(changes):
            ConfigChange.objects.filter(pk__lte=newest - KEPT).delete()
    transaction.on_commit(_wake, robust=True)


def current_version() -> int:
    """The version that includes the changes which the current request has made so far."""
    write_pending()
    return _newest()


def _newest() -> int:
    return ConfigChange.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _wake() -> None:
    waits = [tell() for tell in listeners]
    try:
        if settings.REDIS_URL:
            _tell_others()
    finally:
        for wait in waits:
            wait()


def _tell_others() -> None:
    import redis

    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as client:
        client.publish(CHANNEL, "")
