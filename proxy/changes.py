"""Write down what changed, so that every process hears of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection, models, transaction

from proxy.models import ConfigChange

listeners: list[Callable[[], Callable[[], object]]] = []
"""Told after a change that this process made is in the database; what one returns waits until it has been taken in."""

KEPT = 10_000
"""Notes kept. A process that is further behind forgets all it knows and starts anew."""

EVERYTHING = "everything"
"""The subject of a note after which every process reads all of the configuration anew."""

ADVISORY_LOCK = 5_713_001
CHANNEL = "sluice:config"
"""The Redis channel that wakes the processes up before they next look."""


def record(sender: type[models.Model], ids: list[int], **_: Any) -> None:
    """A receiver of the apps' `changed` signals."""
    if ids:
        write_notes(sender._meta.model_name or "", ids)


def reload_everything() -> None:
    """Have every process read all of the configuration anew, as after a restart."""
    write_notes(EVERYTHING, [0])


def write_notes(subject: str, ids: list[int]) -> None:
    with transaction.atomic():
        if connection.vendor == "postgresql":
            # Held to the end of the transaction: ids appear in the order in which they become visible.
            # SQLite has one writer at a time anyway.
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        ConfigChange.objects.bulk_create([ConfigChange(subject=subject, object_id=pk) for pk in ids])
        newest = current_version()
        if newest % 100 < len(ids):
            ConfigChange.objects.filter(pk__lte=newest - KEPT).delete()
    transaction.on_commit(_wake, robust=True)


def current_version() -> int:
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
