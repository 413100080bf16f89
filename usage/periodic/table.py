"""A line of the schedule, and when it is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.utils.module_loading import import_string

DAY_S = 86_400


class Periodic(NamedTuple):
    """One task: every so many seconds, counted from 1970, or at a time of each day, UTC. One of the two is given.

    Counted from there it is due at the same moments in every process, and does not drift. A task takes no arguments,
    and does what is left to do: it may be run again after it died in the middle, or be late.
    """

    name: str
    task: str
    """Where it is: `app.tasks.function`, a Celery task."""
    every_s: int | None = None
    at: time | None = None

    def following(self, now: float) -> float:
        """The first moment after `now` (Unix seconds) that it is due at."""
        step, start = self.every_s or DAY_S, 0
        if self.at is not None:
            start = self.at.hour * 3600 + self.at.minute * 60 + self.at.second
        return ((now - start) // step + 1) * step + start

    def body(self) -> Callable[[], Any]:
        """The function itself; a Celery task is called without Celery."""
        task = import_string(self.task)
        return cast(Callable[[], Any], getattr(task, "run", task))


def schedule() -> tuple[Periodic, ...]:
    """What the setting SCHEDULE names."""
    return cast(tuple[Periodic, ...], import_string(settings.SCHEDULE))


def periodic_of(name: str) -> Periodic | None:
    return next((periodic for periodic in schedule() if periodic.name == name), None)
