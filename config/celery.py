"""Celery, for installations that have a broker: `celery -A config worker` and, once, `celery -A config beat`.

Nothing else imports this module, so a server without Celery does not load it.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from celery import Celery, Task, signals
from celery.schedules import crontab, schedule
from django.conf import settings

from usage.periodic.table import DAY_S, Periodic
from usage.periodic.table import schedule as periodic_table

BY_TASK = {periodic.task: periodic for periodic in periodic_table()}


class Scheduled(Task):  # type: ignore[type-arg]
    """A scheduled task.

    It runs once at a time in the whole installation, and its row in the database has the result.
    """

    abstract = True

    def __call__(self, *args: Any, **options: Any) -> Any:
        periodic = BY_TASK.get(self.name)
        if periodic is None or args or options or self.request.called_directly:
            return super().__call__(*args, **options)
        from usage.periodic.run import attempt  # it imports models, and Celery sets Django up after this module

        ran = attempt(periodic, self.run)
        return None if ran is None else ran.result or ran.error


def entry(periodic: Periodic) -> dict[str, Any]:
    """An entry for beat.

    A run that no worker has taken when the next one is due is dropped, so missed runs run once.
    """
    at = periodic.at
    when = schedule(periodic.every_s) if at is None else crontab(minute=str(at.minute), hour=str(at.hour))
    return {"task": periodic.task, "schedule": when, "options": {"expires": periodic.every_s or DAY_S}}


app = Celery("sluice", task_cls=Scheduled)
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL or None,
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    timezone="UTC",
    imports=sorted({periodic.task.rpartition(".")[0] for periodic in BY_TASK.values()}),
    beat_schedule={periodic.name: entry(periodic) for periodic in BY_TASK.values()},
    beat_schedule_filename=str(settings.DATA_DIR / "celerybeat-schedule"),
)
app.autodiscover_tasks()


@signals.setup_logging.connect
def log_as_django_does(**_: Any) -> None:
    """Connecting to this signal keeps Celery from changing the logging that Django's settings define."""


@signals.worker_init.connect
@signals.beat_init.connect
def need_a_broker(**_: Any) -> None:
    if not settings.CELERY_BROKER_URL:
        raise SystemExit("sluice: CELERY_BROKER_URL: set it; without a broker `manage.py serve` runs the tasks itself")
