"""With a broker Celery's own worker and beat run the schedule, and the server runs none of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.kit.databases import databases, query
from tests.kit.environment import ROOT
from tests.kit.services import processes
from tests.kit.waiting import soon
from tests.periodic.chores import notes

PATIENCE_S = 90


def celery(server, log, *args):
    with log.open("ab") as output:
        command = [sys.executable, "-m", "celery", "-A", "config", *args]
        return processes.start(command, env=server.env, cwd=ROOT, output=output)


@pytest.mark.parametrize("database", databases)
def test_worker_and_beat_run_the_schedule(start_sluice, services, tmp_path, database):
    chores, log = tmp_path / "chores", tmp_path / "log"
    with services.redis() as redis:
        server = start_sluice(
            database, CHORES=chores, DJANGO_SETTINGS_MODULE="tests.periodic.brisk", CELERY_BROKER_URL=redis.url
        )
        running = [celery(server, log, "worker", "--concurrency", "2"), celery(server, log, "beat")]
        try:
            soon(lambda: len(notes(chores, "tick")) >= 3 and len(notes(chores, "fail")) >= 2, PATIENCE_S)
        except AssertionError:
            raise AssertionError(log.read_text()) from None
        finally:
            for process in reversed(running):
                processes.end(process, timeout=30)
    assert {run.program for run in notes(chores, "tick")} == {"celery"}
    rows = {row["name"]: row for row in query(server.database_url, "SELECT * FROM usage_scheduledtask")}
    assert (rows["tick"]["outcome"], rows["tick"]["result"]) == ("ok", "ticked")
    assert (rows["fail"]["outcome"], rows["fail"]["error"]) == ("failed", "RuntimeError: as it must")


@pytest.mark.parametrize("part", ["worker", "beat"])
def test_celery_without_a_broker_says_that_it_needs_one(sluice, tmp_path, part):
    ended = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "config", part],
        cwd=ROOT,
        env=sluice.env,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode
    assert "CELERY_BROKER_URL" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr + ended.stdout
