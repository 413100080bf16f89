"""P14: parallel P is never exceeded at the upstream, and a slot is free again at once when its request ends."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.kit.crowd import Answer, at_once, request_bytes, statuses
from tests.kit.fleet import Fleet
from tests.kit.management import limited_key
from tests.kit.services import processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Reset, Script, Wait, WaitFor, chat_answer, chat_stream
from tests.kit.waiting import let_a_second_pass

pytestmark = pytest.mark.elapsed

PARALLEL = 5
LONG_S = 0.2
"""Long enough that the first of so many still runs when the last has come."""
TRIES = 50
"""Follow-ups one after the other until one has found the slot free; each takes a few milliseconds."""
HELD_UP_S = 2.0
"""For a process that has no time to tell of an end."""
LEASE_LEFT_S = 0.6
"""At least, of two seconds' lease, which is renewed when a third of it is over and a tick has passed."""
SCOPES = ("key", "user", "team", "project", "global")


@pytest.mark.parametrize("scope", SCOPES)
def test_no_more_than_p_run_at_the_upstream(scope: str, fleet: Fleet):
    key, path = limited_key(fleet.first, scope, parallel=PARALLEL)
    let_a_second_pass(time.monotonic())  # then every process knows
    fleet.upstream.script = [Wait(LONG_S), *chat_answer()]
    try:
        answers = [answer for _ in range(3) for answer in at_once(fleet.servers, key, 64)]
    finally:
        if scope == "global":
            fleet.first.api("PATCH", path, json={"parallel": None})
    assert statuses(answers).keys() == {200, 429}
    assert fleet.upstream.peak_open_requests == PARALLEL


def follow_up(fleet: Fleet, key: str) -> tuple[int, Answer]:
    """How many tries it took until a request was accepted, each at the next server."""
    began = time.monotonic()
    for number in itertools.count(1):
        server = fleet.servers[number % len(fleet.servers)]
        [answer] = at_once(server, key, 1)
        if answer.status == 200:
            return number, answer
        assert number < TRIES or time.monotonic() < began + HELD_UP_S, f"no slot after {number} tries"
    raise AssertionError


@pytest.mark.parametrize("way", ["end", "failure", "disconnect", "disconnect in mid-stream"])
def test_a_slot_is_free_at_once_after_the_end(way: str, fleet: Fleet):
    key, _ = limited_key(fleet.first, "key", parallel=PARALLEL)
    go_on = threading.Event()
    script = list(chat_stream())
    endings: dict[str, Script] = {
        "end": [WaitFor(go_on), *chat_answer()],
        "failure": [WaitFor(go_on), Reset()],
        "disconnect": [WaitFor(go_on), *chat_answer()],
        "disconnect in mid-stream": [*script[:3], WaitFor(go_on), *script[3:]],
    }
    fleet.upstream.answers(*[endings[way]] * PARALLEL)
    with ExitStack() as held:
        held.callback(go_on.set)
        clients = [held.enter_context(open_stream(server, key)) for server in (fleet.servers * PARALLEL)[:PARALLEL]]
        fleet.upstream.wait_until(lambda: fleet.upstream.open_requests == PARALLEL)
        if way == "disconnect in mid-stream":
            for client in clients:
                assert client.recv(20)
        assert statuses(at_once(fleet.servers, key, 8)) == {429: 8}
        end: dict[str, Callable[[], None]] = {"end": go_on.set, "failure": go_on.set}
        end.get(way, clients[0].close)()
        if way in end:
            assert clients[0].recv(20)  # the answer has begun, so its upstream has ended
        else:
            fleet.upstream.wait_until(lambda: fleet.upstream.open_requests < PARALLEL)  # noticed; how soon, P21 says
        follow_up(fleet, key)


def open_stream(server: Sluice, key: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(request_bytes(key, {}))
    return connection


def test_a_killed_process_gives_its_slots_back_when_its_lease_ends(fleet: Fleet):
    """And not before: a process that only cannot be heard for a moment keeps what it holds."""
    key, _ = limited_key(fleet.first, "key", parallel=PARALLEL)
    go_on = threading.Event()
    fleet.upstream.answers(*[[WaitFor(go_on), *chat_answer()]] * PARALLEL)
    with ExitStack() as held:
        held.callback(go_on.set)
        for _ in range(PARALLEL):
            held.enter_context(open_stream(fleet.last, key))
        fleet.upstream.wait_until(lambda: fleet.upstream.open_requests == PARALLEL)
        for pid in fleet.last.worker_pids():
            os.kill(pid, signal.SIGKILL)
        killed_at = time.monotonic()
        answers = at_once(fleet.first, key, 8)
        assert {answer.status for answer in answers if answer.ended < killed_at + LEASE_LEFT_S} <= {429}
        assert processes.poll(lambda: statuses(at_once(fleet.first, key, 8)).get(200, 0) > 0, timeout=25, every=0.3)
