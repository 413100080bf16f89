"""F122: `manage.py dispatch` beside a running server: what finished requests become, and what a crash leaves."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.kit.dispatching import SECRET
from tests.kit.environment import ROOT
from tests.kit.requests import ask
from tests.kit.services import processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Received, Upstream, WaitFor, error_answer, json_answer
from tests.kit.waiting import soon

pytestmark = pytest.mark.timeout(180)  # many processes are started

TAKEN = json_answer({})
WAIT_S = 30.0
ALONE = "sqlite alone"
everywhere = pytest.mark.parametrize("server", [ALONE, "postgres and redis"], indirect=True)


@pytest.fixture
def server(request: Any, start_sluice: Any, receiver: Upstream) -> Sluice:
    """One whose settings name two dispatchers. With SQLite alone, where a test does not ask for `everywhere`."""
    alone = getattr(request, "param", ALONE) == ALONE
    started: Sluice = start_sluice(
        "sqlite" if alone else "postgres",
        redis=not alone,
        DISPATCH_TO="file,hook=webhook",
        DISPATCH_WITH_SERVER="false",
        DISPATCH_HOOK_URL=f"{receiver.url}/hook",
        DISPATCH_HOOK_SECRET=SECRET,
        JOURNAL_CLAIM_SECS=1,
    )
    return started


def lines_of(server: Sluice) -> list[dict[str, Any]]:
    path = Path(server.env["DATA_DIR"]) / "dispatch" / "file.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def sent_to(receiver: Upstream) -> list[str]:
    """The ids of the events that came, in their order."""
    return [each["id"] for got in receiver.whole() for each in got.json()["data"]]


def request_ids(server: Sluice, key: str, count: int) -> list[str]:
    answers = [ask(server, key) for _ in range(count)]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.headers["x-request-id"] for answer in answers]


class Dispatching:
    """`manage.py dispatch` in a process of its own, which ends with the context."""

    def __init__(self, server: Sluice, *options: str) -> None:
        self._log = server.directory / "dispatch.log"
        with self._log.open("ab") as output:
            command = [sys.executable, "manage.py", "dispatch", *options]
            self.process = processes.start(command, env=server.env, cwd=ROOT, output=output)

    def __enter__(self) -> Dispatching:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        processes.sweep(self.process)
        self.process.wait(10)

    def stop(self) -> int:
        return processes.end(self.process)

    @property
    def text(self) -> str:
        return self._log.read_text()


@pytest.fixture
def introduced(server: Sluice) -> Sluice:
    """Its dispatchers are known to the journal, so what ends from now on is theirs."""
    server.manage("dispatch", "--once", json=False)
    return server


def wait_for_backlog(server: Sluice, events: int) -> None:
    """Until that many are there for the dispatcher `hook`: with Redis the ledger's process brings them."""
    soon(lambda: server.metrics().total("llm_proxy_dispatch_backlog_events", dispatcher="hook") >= events, WAIT_S)


@everywhere
def test_finished_requests_reach_all_dispatchers(introduced: Sluice, receiver: Upstream):
    ids = request_ids(introduced, introduced.mint(), 5)
    with Dispatching(introduced) as dispatching:
        soon(lambda: len(lines_of(introduced)) >= 5 and len(sent_to(receiver)) >= 5, WAIT_S)
        assert [line["id"] for line in lines_of(introduced)] == ids
        assert sorted(sent_to(receiver)) == sorted(ids)
        ids += request_ids(introduced, introduced.mint(), 3)
        soon(lambda: len(lines_of(introduced)) >= 8, WAIT_S)
        assert dispatching.stop() == 0
    assert lines_of(introduced)[0]["cost_usd"] is not None
    row = introduced.api("GET", f"/api/requests/{ids[0]}").json()
    line = next(line for line in lines_of(introduced) if line["id"] == ids[0])
    assert {name: row[name] for name in line if name != "created_at"} == {
        name: value for name, value in line.items() if name != "created_at"
    }


@everywhere
def test_a_killed_dispatcher_goes_on_where_it_stopped(introduced: Sluice, receiver: Upstream):
    """kill -9 in the middle of a delivery: what was under way comes again, what was before does not."""
    key = introduced.mint()
    first = request_ids(introduced, key, 3)
    wait_for_backlog(introduced, 3)
    introduced.manage("dispatch", "--name", "hook", "--once", json=False)
    assert sorted(sent_to(receiver)) == sorted(first)
    never = threading.Event()
    receiver.script = [WaitFor(never), *TAKEN]
    second = request_ids(introduced, key, 3)
    with Dispatching(introduced, "--name", "hook"):
        receiver.wait_for(2, WAIT_S)
    receiver.reset()
    receiver.script = TAKEN
    third = request_ids(introduced, key, 2)
    with Dispatching(introduced, "--name", "hook"):
        soon(lambda: set(sent_to(receiver)) >= {*second, *third}, WAIT_S)
    assert sorted(sent_to(receiver)) == sorted([*second, *third])


@everywhere
def test_metrics_tell_what_was_delivered_and_what_waits(introduced: Sluice, receiver: Upstream):
    receiver.script = error_answer(503)
    request_ids(introduced, introduced.mint(), 4)
    wait_for_backlog(introduced, 4)
    done = introduced.manage("dispatch", "--once", json=False, check=False)
    assert done.returncode == 1
    assert "dispatcher hook: not all of it was delivered: it answered 503" in done.stderr

    def told(name: str, dispatcher: str) -> float:
        return introduced.metrics().total(f"llm_proxy_dispatch_{name}", dispatcher=dispatcher)

    request_ids(introduced, introduced.mint(), 2)
    soon(lambda: told("backlog_events", "file") == 2, WAIT_S)  # though no dispatcher runs
    introduced.manage("dispatch", "--name", "file", "--once", json=False)
    soon(lambda: (told("backlog_events", "file"), told("backlog_events", "hook")) == (0, 6), WAIT_S)
    assert (told("delivered_total", "file"), told("failing", "file")) == (6, 0)
    assert (told("delivered_total", "hook"), told("failing", "hook")) == (0, 1)
    assert told("failed_total", "hook") >= 1
    receiver.script = TAKEN
    introduced.manage("dispatch", "--once", json=False)
    soon(lambda: told("backlog_events", "hook") == 0, WAIT_S)
    assert (told("delivered_total", "hook"), told("failing", "hook")) == (6, 0)


def test_what_is_refused_for_good_is_seen_and_sent_again(introduced: Sluice, receiver: Upstream):
    key = introduced.mint()
    good = request_ids(introduced, key, 2)
    bad = ask(introduced, key, model="poison").headers["x-request-id"]
    good += request_ids(introduced, key, 2)

    def refuse_poison(got: Received) -> Any:
        return json_answer({"no": "poison"}, 422 if b"poison" in got.body else 200)

    receiver.script = refuse_poison
    introduced.manage("dispatch", "--name", "hook", "--once", json=False)
    taken = [each["id"] for got in receiver.whole() if b"poison" not in got.body for each in got.json()["data"]]
    assert sorted(taken) == sorted(good)
    [line] = introduced.manage("dispatch", "--name", "hook", "--dead-letters", json=False).splitlines()
    letter = json.loads(line)
    assert (letter["dispatcher"], letter["event"]["id"]) == ("hook", bad)
    assert letter["reason"].startswith("it answered 422: ")
    assert introduced.metrics().total("llm_proxy_dispatch_dead_letters_total", dispatcher="hook") == 1
    receiver.reset()
    receiver.script = TAKEN
    told = introduced.manage("dispatch", "--name", "hook", "--resend", json=False)
    assert told == "dispatcher hook: 1 delivered, 0 refused for good\n"
    assert sent_to(receiver) == [bad]
    assert introduced.manage("dispatch", "--name", "hook", "--dead-letters", json=False) == ""


def test_two_of_one_name_do_not_send_twice(introduced: Sluice, receiver: Upstream):
    with Dispatching(introduced, "--name", "hook") as dispatching:
        ids = request_ids(introduced, introduced.mint(), 3)
        soon(lambda: len(sent_to(receiver)) >= 3, WAIT_S)
        done = introduced.manage("dispatch", "--name", "hook", json=False, check=False)
        assert (done.returncode, "works on this host already" in done.stderr) == (1, True)
        assert dispatching.stop() == 0
    assert sorted(sent_to(receiver)) == sorted(ids)


def test_the_task_delivers_for_all_that_are_configured(introduced: Sluice, receiver: Upstream):
    ids = request_ids(introduced, introduced.mint(), 3)
    call = "from usage.dispatch.tasks import dispatch_configured; print(dispatch_configured())"
    assert "{'file': 3, 'hook': 3}" in introduced.manage("shell", "-c", call, json=False)
    assert sorted(sent_to(receiver)) == sorted(ids)
    assert "{'file': 0, 'hook': 0}" in introduced.manage("shell", "-c", call, json=False)


def test_one_may_be_named_on_the_command_line_alone(introduced: Sluice, tmp_path: Path):
    path = tmp_path / "log.jsonl"
    options = ["dispatch", "--to", "file", "--name", "extra", "--path", str(path), "--once"]
    introduced.manage(*options, json=False)
    ids = request_ids(introduced, introduced.mint(), 2)
    introduced.manage(*options, json=False)
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ids


def test_no_secret_is_logged(introduced: Sluice, receiver: Upstream):
    receiver.script = error_answer(500)
    request_ids(introduced, introduced.mint(), 1)
    done = introduced.manage("dispatch", "--once", json=False, check=False)
    state = (Path(introduced.env["DATA_DIR"]) / "dispatch" / "hook.state.json").read_text()
    assert "it answered 500" in done.stderr
    assert SECRET not in done.stdout + done.stderr + introduced.log_text() + state


@pytest.mark.parametrize(
    "options, complaint",
    [
        (["--name", "nobody"], "DISPATCH_TO has no 'nobody' in it"),
        (["--url", "http://x"], "--url and --path go with --to"),
        (["--to", "webhook"], "DISPATCH_WEBHOOK_URL: a dispatcher of kind webhook needs it"),
        (["--to", "file", "--name", "No!"], "--name: a dispatcher's name has up to 32"),
    ],
)
def test_wrong_use_ends_with_2_and_one_line(options: list[str], complaint: str):
    with pytest.raises(CommandError, match=complaint) as wrong:
        call_command("dispatch", *options)
    assert wrong.value.returncode == 2
