"""The entries of the schedule, and when they are due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.utils.module_loading import import_string

DAY_S = 86_400


class Periodic(NamedTuple):
    """One task. It is due either every `every_s` seconds, counted from 1970, or daily at the time `at`, UTC.

    Because the seconds are counted from 1970, it is due at the same moments in every process, and does not drift. A
    task takes no arguments, and does what is left to do: it may be late, or be repeated after it died.
    """

    name: str
    task: str
    """The dotted name of a Celery task: `app.tasks.function`."""
    every_s: int | None = None
    at: time | None = None

    def following(self, now: float) -> float:
        """Return the first time after `now` at which it is due. Both are in Unix seconds."""
        step, start = self.every_s or DAY_S, 0
        if self.at is not None:
            start = self.at.hour * 3600 + self.at.minute * 60 + self.at.second
        return ((now - start) // step + 1) * step + start

    def body(self) -> Callable[[], Any]:
        """Return the function itself, which is called without Celery."""
        task = import_string(self.task)
        return cast(Callable[[], Any], getattr(task, "run", task))


def schedule() -> tuple[Periodic, ...]:
    """Return the schedule that the setting SCHEDULE names."""
    return cast(tuple[Periodic, ...], import_string(settings.SCHEDULE))


def periodic_of(name: str) -> Periodic | None:
    return next((periodic for periodic in schedule() if periodic.name == name), None)
