"""The ledger process: it writes the ledger and runs periodic tasks and dispatchers, beside the process that serves.

It is a separate process so that rows do not slow down requests: it does not hold their interpreter's lock, and its
lower priority leaves them the CPU if there is only one. If it dies, another one is started. If the server dies, it
writes what is in the journal and ends as well.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType

from django.conf import settings
from django.db import connections

from usage.loops import FILE, LOOPS

log = logging.getLogger("sluice.ledger")

NAME = "sluice-ledger"
"""The name of the process in lists of processes."""

STOP_S = 20.0


class LedgerProcess:
    """A context manager that keeps the ledger process running."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ended = threading.Event()

    def __enter__(self) -> LedgerProcess:
        connections.close_all()  # a connection must not be shared with a forked process
        # A fork starts at once and shares memory. Later this process has threads, and only spawn is safe.
        self._start(multiprocessing.get_context("fork"))
        self._supervisor = threading.Thread(target=self._supervise, name="ledger-watch", daemon=True)
        self._supervisor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._line.close()
        self._process.join(STOP_S)
        if self._process.is_alive():
            log.error("The ledger did not take all rows in time; they wait in the journal for the next start.")
            self._process.kill()
            self._process.join()

    def _start(self, context: BaseContext) -> None:
        here, there = context.Pipe()
        self._process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=serve_ledger, args=(self._directory, there, here), name="ledger", daemon=True
        )
        self._process.start()
        there.close()
        self._line: Connection = here

    def _supervise(self) -> None:
        LOOPS.named("ledger-watch").run_until(self._ended, self._keep_one)

    def _keep_one(self) -> None:
        wait([self._process.sentinel])
        if self._ended.is_set():
            return
        log.error("The process that writes the ledger died (%s); starting another.", self._process.exitcode)
        self._line.close()
        if not self._ended.wait(0.2):
            self._start(multiprocessing.get_context("spawn"))


def serve_ledger(directory: Path, line: Connection, other_end: Connection) -> None:
    """Run the ledger process: write the ledger until the server closes its end of the pipe, or dies."""
    other_end.close()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # they are for the server; its end closes the pipe
    with contextlib.suppress(OSError):  # only Linux has this file
        Path("/proc/self/comm").write_text(NAME)
    import django

    django.setup()
    from usage.dispatch.beside import Dispatchers
    from usage.journal.writer import write_ledger
    from usage.periodic.scheduler import Scheduler

    stopping = threading.Event()
    directory.mkdir(parents=True, exist_ok=True)
    LOOPS.tell_in(directory / FILE)

    def wait_for_the_end() -> None:
        with contextlib.suppress(EOFError, OSError):
            line.recv()
        stopping.set()

    threading.Thread(target=wait_for_the_end, name="line", daemon=True).start()
    # Requests go first: if they keep the only core busy, rows wait in the journal. The priority is not lowered earlier,
    # because a server that is stopped while this process starts would wait for it.
    os.nice(settings.LEDGER_NICENESS)
    with Scheduler(), Dispatchers():
        write_ledger(directory, stopping)
