"""Run the schedule without Celery: a thread beside the ledger's writer, which starts a thread for each due task."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections

from usage.loops import LOOPS
from usage.periodic.run import attempt
from usage.periodic.state import ScheduledTask, make_rows
from usage.periodic.table import Periodic, schedule

log = logging.getLogger("sluice.tasks")

LOOK_EVERY_S = 5.0
"""The longest pause between two looks at the schedule. It is shorter if a task is due sooner."""
LOOK_AGAIN_S = 1.0
"""The pause while a task is due that runs elsewhere, or has to wait."""
MOST_AT_ONCE = 4
STOP_S = 10.0
"""How long running tasks may take to end. After that their leases expire, and another process runs them again."""


class Scheduler:
    """A context manager in which the scheduled tasks run, unless Celery runs them."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._running: dict[str, threading.Thread] = {}
        self._has_rows = False
        self._is_failing = False

    def __enter__(self) -> Scheduler:
        self._thread: threading.Thread | None = None
        if not settings.CELERY_BROKER_URL:
            import_tasks()
            self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread is None:
            return
        until = time.monotonic() + STOP_S
        self._thread.join(STOP_S)
        for name, thread in list(self._running.items()):
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                log.warning("The task %s did not end in time; it will run anew.", name)

    def _run(self) -> None:
        LOOPS.named("scheduler").run_until(self._stopping, self._step)
        connections.close_all()

    def _step(self) -> None:
        self._wake.clear()
        if self._stopping.is_set():
            return  # set after the loop's check: the wake-up has just been cleared
        wait_s = LOOK_AGAIN_S
        try:
            wait_s = self._look({periodic.name: periodic for periodic in schedule()})
            self._is_failing = False
        except (DatabaseError, InterfaceError) as error:
            if not self._is_failing:
                log.warning("No task is started while the database is away (%s).", type(error).__name__)
            self._is_failing = True
            connections.close_all()
        self._wake.wait(wait_s)

    def _look(self, table: dict[str, Periodic]) -> float:
        """Start the tasks that are due. Return after how many seconds to look again."""
        now, wait_s = time.time(), LOOK_EVERY_S
        if not self._has_rows:
            make_rows(table.values(), now)
            self._has_rows = True
        for row in ScheduledTask.objects.filter(pk__in=list(table)):
            due_in_s = row.next_run_at.timestamp() - now
            if due_in_s > 0:
                wait_s = min(wait_s, due_in_s)
            elif row.name not in self._running:
                is_free = row.lease_until is None or row.lease_until.timestamp() <= now
                if is_free and len(self._running) < MOST_AT_ONCE:
                    self._start(table[row.name])
                else:
                    wait_s = min(wait_s, LOOK_AGAIN_S)
        return wait_s

    def _start(self, periodic: Periodic) -> None:
        thread = threading.Thread(target=self._attempt, args=(periodic,), name=periodic.name, daemon=True)
        self._running[periodic.name] = thread
        try:
            thread.start()
        except RuntimeError:  # no more threads are to be had
            del self._running[periodic.name]
            raise

    def _attempt(self, periodic: Periodic) -> None:
        try:
            attempt(periodic, only_if_due=True)
        except Exception as error:
            log.error("The task %s could not be run: %s: %s", periodic.name, type(error).__name__, error)
        finally:
            connections.close_all()  # this thread's
            del self._running[periodic.name]
            self._wake.set()


def import_tasks() -> None:
    """Import the tasks before threads start: two threads that import Celery at once may find it half initialized."""
    for periodic in schedule():
        try:
            periodic.body()
        except Exception as error:  # it fails again when it is due, and its row then has the error
            log.error("The task %s cannot be imported: %s", periodic.name, type(error).__name__)
