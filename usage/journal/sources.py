"""Choose the source of a consumer of the journal."""

from __future__ import annotations

from django.conf import settings

from usage.journal.local_source import LocalSource
from usage.journal.source import Source


def open_source(name: str) -> Source:
    """Open the journal for a consumer of this name: of all hosts with Redis, else of this host.

    A new name gets the events of requests that end from now on. Raises `OSError`, `redis.RedisError`, and `ValueError`
    for a name that no consumer can have.
    """
    if settings.REDIS_URL:
        from usage.journal.stream_source import StreamSource  # imported only if Redis is used

        return StreamSource.open(settings.REDIS_URL, name)
    return LocalSource(settings.JOURNAL_DIR, name)
