"""One run of a task: who gets it, when it is due again, what is told of it."""

from __future__ import annotations

import json
import time
from datetime import time as time_of_day
from datetime import timedelta

import pytest
from celery import Task
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone
from django.utils.module_loading import import_string

from config.schedule import SCHEDULE
from usage.models import ScheduledTask
from usage.periodic.run import attempt, claim
from usage.periodic.state import make_rows, moment
from usage.periodic.table import DAY_S, Periodic

HOURLY = Periodic("hourly", "tests.periodic.test_runs.nothing", every_s=3600)
DAILY = Periodic("daily", "tests.periodic.test_runs.nothing", at=time_of_day(3, 10))
NOON = 1_800_014_400 - 1_800_014_400 % DAY_S + DAY_S // 2
"""In Unix seconds."""


def nothing():
    return "done"


def broken():
    raise ValueError("no")


def run_task(periodic, **options):
    task = attempt(periodic, **options)
    assert task is not None
    return task


def claimed(periodic, now):
    task = claim(periodic, now, only_if_due=True)
    assert task is not None
    return task


def row():
    return ScheduledTask.objects.get()


def test_tasks_are_due_on_the_clock_and_do_not_drift():
    assert [HOURLY.following(NOON + late) for late in (0, 1, 3599.9)] == [NOON + 3600] * 3
    assert DAILY.following(NOON) == NOON + DAY_S / 2 + 3 * 3600 + 600
    assert DAILY.following(NOON - DAY_S / 2) == NOON - DAY_S / 2 + 3 * 3600 + 600


def test_every_line_of_the_schedule_is_a_celery_task_without_arguments():
    assert len({periodic.name for periodic in SCHEDULE}) == len(SCHEDULE)
    for periodic in SCHEDULE:
        task = import_string(periodic.task)
        assert isinstance(task, Task)
        assert task.name == periodic.task
        assert task.run.__code__.co_argcount == 0
        assert (periodic.every_s is None) != (periodic.at is None)
        assert periodic.at is None or periodic.at.second == 0  # Celery's beat counts in minutes


def test_of_two_that_are_in_time_one_gets_it(db):
    make_rows([HOURLY], NOON)
    assert claim(HOURLY, NOON + 3599, only_if_due=True) is None
    assert claim(HOURLY, NOON + 3600, only_if_due=True) is not None
    assert claim(HOURLY, NOON + 3600, only_if_due=True) is None
    assert claim(HOURLY, NOON + 3600, only_if_due=False) is None


def test_what_was_missed_for_days_runs_once(db):
    make_rows([HOURLY], time.time() - 3 * DAY_S)
    assert run_task(HOURLY, only_if_due=True).outcome == "ok"
    assert attempt(HOURLY, only_if_due=True) is None
    assert timezone.now() < row().next_run_at <= timezone.now() + timedelta(hours=1)


def test_a_lease_that_has_run_out_is_taken_over(db, settings, caplog):
    make_rows([HOURLY], NOON)
    first = claimed(HOURLY, NOON + 3600)
    after = NOON + 3600 + settings.TASK_LEASE_SECS
    assert claim(HOURLY, after - 1, only_if_due=True) is None
    second = claimed(HOURLY, after)
    assert second.runner != first.runner
    assert first.runner in caplog.text


def test_a_run_by_hand_leaves_the_next_one_where_it_was(db):
    make_rows([HOURLY], time.time())
    planned = row().next_run_at
    assert run_task(HOURLY).result == "done"
    assert (row().next_run_at, row().outcome, row().result) == (planned, "ok", "done")


def test_what_a_task_raises_is_kept(db):
    attempt(HOURLY._replace(task="tests.periodic.test_runs.broken"))
    assert (row().outcome, row().error, row().lease_until) == ("failed", "ValueError: no", None)


def test_a_task_that_became_due_sooner_does_not_wait_for_its_old_time(db):
    make_rows([DAILY], NOON)
    make_rows([DAILY._replace(every_s=60, at=None)], NOON)
    assert row().next_run_at == moment(NOON + 60)


def test_the_command_lists_and_runs_tasks(db, capsys):
    call_command("tasks", "run", "clear-sessions", "--json")
    assert json.loads(capsys.readouterr().out)["outcome"] == "ok"
    call_command("tasks", "list", "--json")
    listed = {task["name"]: task for task in json.loads(capsys.readouterr().out)["results"]}
    assert set(listed) == {periodic.name for periodic in SCHEDULE}
    assert listed["clear-sessions"]["outcome"] == "ok"
    call_command("tasks", "list")
    assert "clear-sessions" in capsys.readouterr().out


@pytest.mark.django_db
def test_the_command_refuses_what_is_not_there_and_tells_of_failures(settings):
    with pytest.raises(CommandError, match="There is no task 'dust'"):
        call_command("tasks", "run", "dust")
    settings.SCHEDULE = "tests.periodic.test_runs.WITH_A_BROKEN_ONE"
    with pytest.raises(CommandError, match="broken failed: ValueError: no"):
        call_command("tasks", "run", "broken")


WITH_A_BROKEN_ONE = (Periodic("broken", "tests.periodic.test_runs.broken", every_s=60),)


def test_the_admin_shows_the_tasks_and_lets_nobody_edit_them(client, db):
    attempt(SCHEDULE[0])
    client.force_login(User.objects.create_superuser("root"))
    page = client.get("/admin/usage/scheduledtask/")
    assert SCHEDULE[0].name in page.content.decode()
    assert client.get(f"/admin/usage/scheduledtask/{SCHEDULE[0].name}/change/").status_code == 200
    assert client.post(f"/admin/usage/scheduledtask/{SCHEDULE[0].name}/change/", {}).status_code == 403
    assert client.get("/admin/usage/scheduledtask/add/").status_code == 403
