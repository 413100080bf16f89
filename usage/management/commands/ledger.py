"""`manage.py ledger`: write the ledger from the journal, in a process that is started and stopped by somebody else."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from usage.dispatch.beside import Dispatchers
from usage.journal.writer import ledger_writer, write_ledger
from usage.loops import FILE, LOOPS
from usage.periodic.scheduler import Scheduler


class Command(BaseCommand):
    help = (
        "Write the ledger from JOURNAL_DIR, run what is periodic, and dispatch as DISPATCH_TO says, until SIGTERM. "
        "For servers that run with LEDGER_WRITER=separate."
    )
    requires_system_checks = []  # noqa: RUF012

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="Write what is there, and end.")

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        stopping = threading.Event()
        if once:
            stopping.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        with contextlib.ExitStack() as beside:
            if not once:
                beside.enter_context(Scheduler())
                beside.enter_context(Dispatchers())
            if once:
                ledger_writer(settings.JOURNAL_DIR).run(stopping)
            else:
                settings.JOURNAL_DIR.mkdir(parents=True, exist_ok=True)
                LOOPS.tell_in(settings.JOURNAL_DIR / FILE)
                write_ledger(settings.JOURNAL_DIR, stopping)
