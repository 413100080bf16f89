"""P3: what a killed process had reserved comes back within its lease: parallel requests, tokens a minute, money."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.kit.accounts import Crew, new_crew
from tests.kit.fleet import fleet_of
from tests.kit.management import MODEL, set_price, usd
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.spending import BOUNDED, COST, Books, post, statuses, wave
from tests.kit.upstream import Upstream, WaitFor, chat_answer
from tests.kit.waiting import soon

LEASE_S = 2
ROOM: dict[str, dict[str, Any]] = {
    "parallel": {"parallel": 3},
    "budget": {"budget": usd(3 * COST)},
    "tpm": {"tpm": 3_500},
}
"""For three requests at once."""


@pytest.fixture(scope="module")
def servers(services: Services, _upstream: Upstream) -> Iterator[list[Sluice]]:
    with fleet_of(_upstream, workers=2, LIMIT_LEASE_SECS=LEASE_S) as fleet:
        set_price(fleet.first)
        yield fleet.servers


def is_let_through(server: Sluice, crew: Crew) -> bool:
    return post(server, crew.token, model=MODEL, max_tokens=1).status == 200


def kill_the_workers(server: Sluice) -> None:
    for pid in server.worker_pids():
        os.kill(pid, signal.SIGKILL)


def kill_the_instance(server: Sluice) -> None:
    server.kill()
    server.launch()


@pytest.mark.parametrize("kill", [kill_the_workers, kill_the_instance])
def test_what_was_reserved_comes_back(servers: list[Sluice], upstream: Upstream, kill: Callable[[Sluice], None]):
    stays, dies = servers
    crews = {kind: new_crew(stays, key=room) for kind, room in ROOM.items()}
    never = threading.Event()
    upstream.script = [WaitFor(never), *chat_answer()]
    with ThreadPoolExecutor(16) as pool:
        lost = [pool.submit(post, dies, crew.token, **BOUNDED) for crew in crews.values() for _ in range(3)]
        upstream.wait_until(lambda: upstream.open_requests == len(lost))
        for kind, crew in crews.items():
            assert post(stays, crew.token, **BOUNDED).status == 429, kind
        kill(dies)
        for future in lost:
            assert isinstance(future.exception(), OSError)
    books = upstream.script = Books(takes_s=0.5)
    for crew in crews.values():
        soon(partial(is_let_through, stays, crew), LEASE_S + 4)
    assert books.answered == len(crews)
    upstream.script = Books(takes_s=2)
    for kind in ("parallel", "tpm"):
        crew = new_crew(stays, key=ROOM[kind])
        assert statuses(wave([stays], crew.token, 4, **BOUNDED)) == {200: 3, 429: 1}


def test_all_of_it_comes_back_and_nothing_twice(servers: list[Sluice], upstream: Upstream):
    """After the lease there is room for as many as before, and for no more."""
    stays, dies = servers
    crews = {kind: new_crew(stays, key=room) for kind, room in ROOM.items()}
    never = threading.Event()
    upstream.script = [WaitFor(never), *chat_answer()]
    with ThreadPoolExecutor(16) as pool:
        lost = [pool.submit(post, dies, crew.token, **BOUNDED) for crew in crews.values() for _ in range(2)]
        upstream.wait_until(lambda: upstream.open_requests == len(lost))
        kill_the_workers(dies)
    upstream.script = Books(takes_s=0.5)
    anybody = new_crew(stays, key={"rpm": 10_000}).token
    soon(lambda: post(stays, anybody, **BOUNDED).status == 200 and not held_by_the_dead(stays), LEASE_S + 6)
    upstream.script = Books(takes_s=2)
    for kind, crew in crews.items():
        assert statuses(wave([stays], crew.token, 5, **BOUNDED)) == {200: 3, 429: 2}, kind


def held_by_the_dead(server: Sluice) -> bool:
    """Whether Redis still has something reserved. Any request has it look for leases that have ended."""
    assert server.redis is not None
    client = server.redis.client()
    try:
        return any(client.hlen(name) for name in client.keys("*:held:*"))
    finally:
        client.close()
