"""The model of a task's state: when it is due, which process runs it, and how it went."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import ClassVar

from django.db import models

from usage.periodic.table import Periodic


class TaskOutcome(models.TextChoices):
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"


class ScheduledTask(models.Model):
    """One row for each task of the schedule, shared by all processes. The process that sets the lease runs the task.

    It renews the lease meanwhile. If the lease has expired, the process has died, and the next one takes the task over.
    """

    name = models.CharField(max_length=64, primary_key=True)
    next_run_at = models.DateTimeField()
    runner = models.CharField(max_length=120, blank=True, help_text="Host, process and run.")
    lease_until = models.DateTimeField(null=True)
    started_at = models.DateTimeField("last run", null=True)
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=8, choices=TaskOutcome.choices, blank=True)
    result = models.CharField(max_length=200, blank=True, help_text="What it did.")
    error = models.TextField(blank=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def duration_s(self) -> float | None:
        """The duration of the last run; None while it runs."""
        if self.started_at is None or self.ended_at is None or self.ended_at < self.started_at:
            return None
        return round((self.ended_at - self.started_at).total_seconds(), 3)


def make_rows(schedule: Iterable[Periodic], now: float) -> None:
    """Add missing rows. If the schedule now has an earlier time, the row gets it. Raises `DatabaseError`."""
    following = {periodic.name: moment(periodic.following(now)) for periodic in schedule}
    new = [ScheduledTask(name=name, next_run_at=at) for name, at in following.items()]
    ScheduledTask.objects.bulk_create(new, ignore_conflicts=True)
    for name, at in following.items():
        ScheduledTask.objects.filter(pk=name, next_run_at__gt=at).update(next_run_at=at)


def moment(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)
