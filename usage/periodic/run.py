"""Run one task, unless another process runs it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.db.models import Q

from usage.loops import LOOPS
from usage.periodic.state import ScheduledTask, TaskOutcome, make_rows, moment
from usage.periodic.table import Periodic

log = logging.getLogger("sluice.tasks")

LONGEST_ERROR = 2000


def attempt(
    periodic: Periodic, body: Callable[[], Any] | None = None, *, only_if_due: bool = False
) -> ScheduledTask | None:
    """Run a task here, and return its row. Return None if it runs elsewhere, or is not due. Raises `DatabaseError`.

    An error of the task is logged and written to the row, and not raised.
    """
    claimed = claim(periodic, time.time(), only_if_due=only_if_due)
    if claimed is None:
        return None
    result, error = "", ""
    with Lease(claimed):
        try:
            result = _result_text((body or periodic.body())())
        except Exception as problem:
            log.exception("The task %s failed.", periodic.name)
            error = f"{type(problem).__name__}: {problem}"[:LONGEST_ERROR]
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()  # the task may have broken it
    end(periodic, claimed, time.time(), result, error)
    return claimed


def claim(periodic: Periodic, now: float, *, only_if_due: bool) -> ScheduledTask | None:
    """Take the task's lease and return its row; None if the lease is taken.

    One statement compares and sets the lease, so only one process gets it.
    """
    task = ScheduledTask.objects.filter(pk=periodic.name).first()
    if task is None:
        make_rows([periodic], now)
        task = ScheduledTask.objects.get(pk=periodic.name)
    free = ScheduledTask.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lte=moment(now)), pk=task.pk)
    if only_if_due:
        free = free.filter(next_run_at=task.next_run_at, next_run_at__lte=moment(now))
    ours = {
        "runner": f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(4)}",
        "lease_until": moment(now + settings.TASK_LEASE_SECS),
        "started_at": moment(now),
        "outcome": TaskOutcome.RUNNING,
    }
    if not free.update(**ours):
        return None
    if task.outcome == TaskOutcome.RUNNING:
        log.warning("The task %s was not ended by %s; it runs anew.", task.name, task.runner)
    for name, value in ours.items():
        setattr(task, name, value)
    return task


def end(periodic: Periodic, task: ScheduledTask, now: float, result: str, error: str) -> None:
    """Write the result, and release the lease. The next run is in the future, even if runs were missed meanwhile."""
    planned = task.next_run_at
    fields = {
        "outcome": TaskOutcome.FAILED if error else TaskOutcome.OK,
        "result": result,
        "error": error,
        "ended_at": moment(now),
        "next_run_at": planned if planned > moment(now) else moment(periodic.following(now)),
        "lease_until": None,
    }
    if not ScheduledTask.objects.filter(pk=task.pk, runner=task.runner).update(**fields):
        log.warning("The task %s took so long without its lease that somebody else runs it as well.", task.name)
    for name, value in fields.items():
        setattr(task, name, value)


class Lease:
    """A context manager in which a thread renews the lease."""

    def __init__(self, task: ScheduledTask) -> None:
        self._task = task
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease of {task.name}", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        def step() -> None:
            if self._ended.wait(settings.TASK_LEASE_SECS / 3):
                return
            until = moment(time.time() + settings.TASK_LEASE_SECS)
            try:
                ScheduledTask.objects.filter(pk=self._task.pk, runner=self._task.runner).update(lease_until=until)
            except DatabaseError as problem:
                log.warning("The lease of %s is not renewed: %s", self._task.name, type(problem).__name__)
                connection.close()

        LOOPS.named("task-leases").run_until(self._ended, step)
        connections.close_all()  # this thread's


def _result_text(result: Any) -> str:
    return "" if result is None else str(result)[:200]
