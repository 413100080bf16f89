"""Without a broker the schedule runs inside of `manage.py serve`: every task once, whoever dies, whatever fails."""

from __future__ import annotations

import signal
import sys
import time

import httpx
import pytest

from tests.kit import plain
from tests.kit.databases import databases, query
from tests.kit.environment import ROOT
from tests.kit.services import processes
from tests.kit.waiting import soon
from tests.periodic.chores import RELEASE, notes

BRISK, HANGING = "tests.periodic.brisk", "tests.periodic.hanging"
PATIENCE_S = 30


def task(server, name):
    found = query(server.database_url, f"SELECT * FROM usage_scheduledtask WHERE name = '{name}'")
    return found[0] if found else {}


@pytest.fixture
def chores(tmp_path):
    return tmp_path / "chores"


def test_two_servers_on_one_database_run_each_task_once(start_sluice, chores):
    servers = [start_sluice("postgres", CHORES=chores, DJANGO_SETTINGS_MODULE=BRISK)]
    servers.append(start_sluice(servers[0].database_url, CHORES=chores, DJANGO_SETTINGS_MODULE=BRISK))
    already = len(notes(chores, "tick"))
    soon(lambda: len(notes(chores, "tick")) >= already + 6, PATIENCE_S)
    for server in servers:
        assert server.stop() == 0
    seconds = [int(run.at) for run in notes(chores, "tick")]
    assert len(seconds) == len(set(seconds)), "a second had two runs"
    assert notes(chores, "idle") == []


@pytest.mark.parametrize("database", databases)
def test_a_task_that_fails_is_told_of_and_stops_no_other(start_sluice, chores, database):
    server = start_sluice(database, CHORES=chores, DJANGO_SETTINGS_MODULE=BRISK)
    soon(lambda: len(notes(chores, "fail")) >= 2 and len(notes(chores, "tick")) >= 2, PATIENCE_S)
    soon(lambda: task(server, "fail").get("outcome") == "failed", PATIENCE_S)
    assert task(server, "fail")["error"] == "RuntimeError: as it must"
    soon(lambda: task(server, "tick").get("outcome") == "ok", PATIENCE_S)
    assert task(server, "tick")["result"] == "ticked"
    assert "The task fail failed." in server.log_text()


@pytest.mark.parametrize("database", databases)
def test_who_dies_with_a_task_is_followed_by_another(start_sluice, chores, database):
    options = {"CHORES": chores, "DJANGO_SETTINGS_MODULE": HANGING}
    first = start_sluice(database, **options)
    soon(lambda: len(notes(chores, "hanging")) == 1, PATIENCE_S)
    first.kill()
    second = start_sluice(first.database_url, **options)
    soon(lambda: len(notes(chores, "hanging")) == 2, PATIENCE_S)
    soon(lambda: "was not ended by" in second.log_text(), PATIENCE_S)
    chores.with_name(RELEASE).touch()
    soon(lambda: notes(chores, "released"), PATIENCE_S)


def test_a_stop_waits_for_the_task_under_way(start_sluice, chores):
    server = start_sluice(CHORES=chores, DJANGO_SETTINGS_MODULE=HANGING)
    soon(lambda: notes(chores, "hanging"), PATIENCE_S)
    server.process.send_signal(signal.SIGTERM)
    soon(lambda: is_closed(server.url), PATIENCE_S)
    chores.with_name(RELEASE).touch()
    assert server.process.wait(PATIENCE_S) == 0
    assert len(notes(chores, "released")) == len(notes(chores, "hanging"))  # it may have come round once more
    assert task(server, "hang")["outcome"] == "ok"


def test_who_writes_the_ledger_beside_the_servers_runs_the_schedule(start_sluice, chores):
    server = start_sluice(CHORES=chores, DJANGO_SETTINGS_MODULE=BRISK, LEDGER_WRITER="separate")
    command = [sys.executable, "manage.py", "ledger"]
    writer = processes.start(command, env=server.env, cwd=ROOT)
    began = time.time()
    try:
        soon(lambda: len(notes(chores, "tick")) >= 2, PATIENCE_S)
    finally:
        assert processes.end(writer) == 0
    assert notes(chores, "tick")[0].at > began, "before it nobody ran any"


def is_closed(url):
    try:
        plain.get(f"{url}/health", timeout=5)
    except httpx.TransportError:
        return True
    return False
