"""Who writes the ledger from this host's journal."""

from __future__ import annotations

import threading
from pathlib import Path

from django.conf import settings

from usage.journal.consumer import Consumer
from usage.loops import LOOPS


def write_ledger(spool: Path, stopping: threading.Event) -> None:
    """Write the ledger until told to stop. After a failure another writer begins where the ledger says it is."""
    if stopping.is_set():  # before it began: what is there is written all the same
        ledger_writer(spool).run(stopping)
    LOOPS.named("ledger").run_until(stopping, lambda: ledger_writer(spool).run(stopping))


def ledger_writer(spool: Path) -> Consumer:
    """With a Redis the writers of all hosts share the work, else each has its own spool."""
    if settings.REDIS_URL:
        from usage.journal.stream_consumer import StreamConsumer

        return StreamConsumer(spool, settings.REDIS_URL)
    return Consumer(spool)
