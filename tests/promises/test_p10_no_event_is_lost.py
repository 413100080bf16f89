"""P10: SIGTERM loses no row; kill -9 loses no event of a finished response; nothing is charged twice."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from tests.access.asking import CHAT
from tests.services import processes
from tests.sluice import Sluice
from tests.upstream import Upstream, chat_answer

ROUNDS = 4
CLIENTS = 12


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Sluice]:
    upstream.answers(*[chat_answer()] * 100_000)
    server = Sluice.start(request.param, upstream_url=upstream.url)
    try:
        yield server
    finally:
        server.close()


class Load:
    """Clients that ask without a pause; `whole` has the request ids of the answers that came whole."""

    def __init__(self, server: Sluice, key: str) -> None:
        self.whole: list[str] = []
        self._server, self._key = server, key
        self._stopping = threading.Event()

    @contextmanager
    def running(self) -> Iterator[Load]:
        self._stopping.clear()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for _ in range(CLIENTS):
                pool.submit(self._ask)
            try:
                yield self
            finally:
                self._stopping.set()

    def _ask(self) -> None:
        headers = {"authorization": f"Bearer {self._key}"}
        with httpx.Client(base_url=self._server.url, headers=headers, trust_env=False, timeout=20) as client:
            while not self._stopping.is_set():
                try:
                    answer = client.post("/v1/chat/completions", json=CHAT)
                except httpx.TransportError:
                    return
                if answer.status_code == httpx.codes.OK:
                    self.whole.append(answer.headers["x-request-id"])

    def wait_for(self, more: int) -> None:
        enough = len(self.whole) + more
        assert processes.poll(lambda: len(self.whole) >= enough, timeout=30), len(self.whole)


def booked(server: Sluice, ids: list[str]) -> list[str]:
    """The rows, once all of these have one; a row stands there once."""
    wanted = set(ids)
    found: list[str] = []

    def all_there() -> bool:
        found[:] = [row["id"] for row in server.rows()]
        return wanted <= set(found)

    assert processes.poll(all_there, timeout=30), len(wanted - set(found))
    assert len(found) == len(set(found))
    return found


def total_requests(server: Sluice) -> int:
    return int(server.api("GET", "/api/keys").json()["results"][0]["total_requests"])


def test_the_server_is_killed_under_load(server: Sluice, upstream: Upstream) -> None:
    """The process that writes the ledger outlives it, and writes what there is before it ends."""
    load = Load(server, server.mint("one"))
    for _ in range(ROUNDS):
        with load.running():
            load.wait_for(random.randint(20, 200))
            assert server.process is not None
            server.process.kill()
        server.process.wait(10)
        found = booked(server, load.whole)
        assert len(found) <= len(upstream.requests)
        server.launch()
    assert processes.poll(lambda: total_requests(server) == len(server.rows()), timeout=10)


def test_the_ledger_s_process_is_killed_under_load(server: Sluice, upstream: Upstream) -> None:
    """Another one takes its place and goes on where the last batch ended."""
    load = Load(server, server.mint("one"))
    with load.running():
        for _ in range(ROUNDS):
            load.wait_for(random.randint(20, 200))
            os.kill(server.ledger_pid(), signal.SIGKILL)
    found = booked(server, load.whole)
    assert len(found) == len(load.whole) == len(upstream.requests)
    assert processes.poll(lambda: total_requests(server) == len(found), timeout=10)


def test_everything_is_killed_at_once(server: Sluice) -> None:
    """What no process could write any more is written at the next start."""
    load = Load(server, server.mint("one"))
    for _ in range(ROUNDS):
        with load.running():
            load.wait_for(random.randint(20, 200))
            server.kill()
        server.launch()
        booked(server, load.whole)
    assert processes.poll(lambda: total_requests(server) == len(server.rows()), timeout=10)


def test_a_stop_leaves_nothing_to_be_written(server: Sluice, upstream: Upstream) -> None:
    load = Load(server, server.mint("one"))
    with load.running():
        load.wait_for(200)
        assert server.stop() == 0
    rows = [row["id"] for row in server.rows()]
    assert set(load.whole) <= set(rows)
    assert len(rows) == len(set(rows)) == len(upstream.requests)
