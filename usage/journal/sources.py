"""Which source a consumer of the journal has."""

from __future__ import annotations

from django.conf import settings

from usage.journal.local_source import LocalSource
from usage.journal.source import Source


def open_source(name: str) -> Source:
    """The journal for a consumer of this name: of all hosts where there is a Redis, else of this one. A name that is
    new gets what ends from now on. Raises `OSError`, `redis.RedisError`, and `ValueError` for a name that no consumer
    can have.
    """
    if settings.REDIS_URL:
        from usage.journal.stream_source import StreamSource  # redis is loaded where there is one

        return StreamSource.open(settings.REDIS_URL, name)
    return LocalSource(settings.JOURNAL_DIR, name)
