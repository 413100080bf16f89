"""Who writes the ledger from this host's journal."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from usage.journal.consumer import Consumer


def ledger_writer(spool: Path) -> Consumer:
    """With a Redis the writers of all hosts share the work, else each has its own spool."""
    if settings.REDIS_URL:
        from usage.journal.stream_consumer import StreamConsumer

        return StreamConsumer(spool, settings.REDIS_URL)
    return Consumer(spool)
