"""P10: SIGTERM loses no row; kill -9 loses no event of a finished response; nothing is charged twice.

On one host, and on two that share a Redis and a database and nothing else. The provider numbers its answers, so that
each can be told from all others, and every sum is compared with its own count.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kit.databases import migrate
from tests.kit.load import Load, Numbered, the_books_balance
from tests.kit.management import set_price
from tests.kit.services import PostgresServer, Services, processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import soon
from usage.journal.stream import EVENTS
from usage.journal.subscribers import LEDGER

ROUNDS = 6
MOST_S = 10.0
"""For the rounds of a test; two are made in any case."""

LATE = "The ledger did not take all rows in time"
MODEL = "gpt-4.1-mini"


@pytest.fixture
def provider(upstream: Upstream) -> Numbered:
    provider = Numbered()
    upstream.script = provider
    return provider


@pytest.fixture(scope="module")
def settings(_upstream: Upstream) -> dict[str, Any]:
    return {"upstream_url": _upstream.url, "LOG_LEVEL": "warning", "JOURNAL_CLAIM_SECS": 1}


@pytest.fixture(scope="module", params=["sqlite", "postgres", "two hosts"])
def servers(request: pytest.FixtureRequest, services: Services, settings: dict[str, Any]) -> Iterator[list[Sluice]]:
    with ExitStack() as held:
        if request.param == "two hosts":
            first = Sluice.start("postgres", redis=True, workers=2, **settings)
            held.callback(first.close)
            servers = [first, Sluice.start(first.database_url, redis=first.redis_url, workers=2, **settings)]
        else:
            servers = [Sluice.start(request.param, **settings)]
        held.callback(servers[-1].close)
        set_price(servers[0], MODEL)
        yield servers


def in_rounds(round_: Callable[[], None]) -> None:
    over = time.monotonic() + MOST_S
    for number in range(ROUNDS):
        if number < 2 or time.monotonic() < over:
            round_()


def kill_the_server(server: Sluice) -> None:
    """It alone: the process that writes the ledger outlives it, writes what there is, and ends."""
    assert server.process is not None
    ledger = server.ledger_pid()
    server.process.kill()
    server.process.wait(10)
    assert processes.poll(lambda: not Path(f"/proc/{ledger}/cwd").exists(), timeout=20)
    kill_all(server)


def kill_the_ledger(server: Sluice) -> None:
    """Another one takes its place and goes on where the last batch ended."""
    os.kill(server.ledger_pid(), signal.SIGKILL)


def kill_all(server: Sluice) -> None:
    """What no process could write any more is written at the next start, or by another host."""
    server.kill()
    server.launch()


@pytest.mark.timeout(120)
def test_anything_is_killed_at_random_moments_under_load(servers: list[Sluice], provider: Numbered) -> None:
    load = Load(servers)
    ways = iter([kill_the_server, kill_all, kill_the_ledger] * ROUNDS)

    def round_() -> None:
        load.wait_for(random.randint(20, 200))
        next(ways)(random.choice(servers))

    with load.running():
        in_rounds(round_)
        load.wait_for(20)
    the_books_balance(servers[0], load, provider, exactly=False)


@pytest.mark.timeout(120)
def test_the_ledger_s_process_is_killed_under_load(servers: list[Sluice], provider: Numbered) -> None:
    """No request is cut by that, so the rows are exactly what the provider gave."""
    load = Load(servers)

    def round_() -> None:
        load.wait_for(random.randint(20, 200))
        kill_the_ledger(random.choice(servers))

    with load.running():
        in_rounds(round_)
        load.wait_for(20)
    the_books_balance(servers[0], load, provider, exactly=True)


@pytest.mark.timeout(120)
def test_a_stop_leaves_nothing_to_be_written(servers: list[Sluice], provider: Numbered) -> None:
    load, said_before = Load(servers), [len(server.log_text()) for server in servers]
    with load.running():
        load.wait_for(200)
        for server in servers:
            assert server.stop() == 0
    left = [str(spool) for server in servers for spool in Path(server.env["DATA_DIR"]).glob("journal/*.spool")]
    logs = [server.log_text()[before:] for server, before in zip(servers, said_before, strict=True)]
    # The ledger's process yields to all others, and a stop does not wait for it without end.
    was_late = any(LATE in log for log in logs)
    rows = complete_rows(servers[0], load)
    for server in servers:
        server.launch()
    if was_late:
        soon(lambda: len(complete_rows(servers[0], load)) == len(load.whole))
    else:
        assert rows == dict.fromkeys(load.whole, "complete"), ("what was begun was not answered", left, logs)
        assert not left
    assert len(load.whole) == provider.given


def complete_rows(server: Sluice, load: Load) -> dict[str, str]:
    return {row["id"]: row["outcome"] for row in server.rows() if row["key_id"] == load.key_id}


@pytest.mark.timeout(120)
def test_what_a_host_shipped_before_it_was_lost_is_written_by_another(
    services: Services, settings: dict[str, Any], provider: Numbered
) -> None:
    """The database is down, so the host that is lost with its disk has been given entries that it could not write."""
    with ExitStack() as held, PostgresServer("synchronous_commit=on") as postgres:
        url = postgres.url_of(postgres.create())
        migrate(url)
        stays = Sluice.start(url, redis=True, **settings)
        held.callback(stays.close)
        lost = Sluice.start(url, redis=stays.redis_url, **settings)
        held.callback(lost.close)
        if stays.redis is None:
            pytest.skip("the Redis that is given is not ours to look into")
        load = Load([lost])
        with load.running():
            load.wait_for(20)
            os.kill(stays.ledger_pid(), signal.SIGSTOP)  # or it might be given some of them
            postgres.stop()
            load.wait_for(100)
        with stays.redis.client() as client:
            member = f"-{lost.ledger_pid()}-".encode()

            def it_holds_some_and_keeps_none_back() -> bool:
                holders = client.xpending(EVENTS, LEDGER)["consumers"]
                shipped = client.xinfo_stream(EVENTS)["entries-added"]
                return shipped >= provider.given and any(member in one["name"] for one in holders)

            assert processes.poll(it_holds_some_and_keeps_none_back, timeout=20)
        lost.kill()
        shutil.rmtree(lost.env["DATA_DIR"])
        postgres.start()
        os.kill(stays.ledger_pid(), signal.SIGCONT)
        the_books_balance(stays, load, provider, exactly=True)
