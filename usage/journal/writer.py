"""Choose and run what writes the ledger from this host's journal."""

from __future__ import annotations

import threading
from pathlib import Path

from django.conf import settings

from usage.journal.consumer import Consumer
from usage.loops import LOOPS


def write_ledger(spool: Path, stopping: threading.Event) -> None:
    """Write the ledger until `stopping` is set. After a failure a new writer begins at the ledger's position."""
    if stopping.is_set():  # told to stop before it began: events that are there are written all the same
        ledger_writer(spool).run(stopping)
    LOOPS.named("ledger").run_until(stopping, lambda: ledger_writer(spool).run(stopping))


def ledger_writer(spool: Path) -> Consumer:
    """Return the ledger's consumer. With Redis those of all hosts share the work; else each reads its own spool."""
    if settings.REDIS_URL:
        from usage.journal.stream_consumer import StreamConsumer

        return StreamConsumer(spool, settings.REDIS_URL)
    return Consumer(spool)
