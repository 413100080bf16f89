"""`manage.py ledger`: write the ledger from the journal in a process that a service manager starts and stops.

`--quarantine` lists events that could not be written, and `--put-back` writes them.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from msgspec import to_builtins

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
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--once", action="store_true", help="Write what is there, and end.")
        what.add_argument("--quarantine", action="store_true", help="Print what could not be written, one a line.")
        what.add_argument(
            "--put-back",
            action="store_true",
            help="Write what could not be written, and forget it. Twice does no harm.",
        )

    def handle(self, *args: Any, once: bool, quarantine: bool, put_back: bool, **options: Any) -> None:
        if not quarantine and not put_back:
            self._write(once)
            return
        from redis.exceptions import RedisError  # not at the top: the process that writes may not need Redis

        try:
            self._list() if quarantine else self._put_back()
        except (DatabaseError, RedisError, OSError) as error:
            raise CommandError(f"The ledger: {error}") from None

    def _list(self) -> None:
        from usage.journal.quarantine import quarantined

        for one in quarantined(settings.JOURNAL_DIR):
            shown: dict[str, Any] = {"segment": one.place, "reason": one.why}
            if one.event is not None:
                shown["event"] = to_builtins(one.event)  # not as a row: it may have values that no row can have
            self.stdout.write(json.dumps(shown))

    def _put_back(self) -> None:
        from usage.journal.quarantine import put_back

        done = put_back(settings.JOURNAL_DIR)
        self.stdout.write(
            f"{done.written} put back into the ledger, {done.refused} refused again, {done.damaged} damaged and left"
        )
        if done.refused:
            sys.exit(1)

    def _write(self, once: bool) -> None:
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
