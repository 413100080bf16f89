"""P35: PostgreSQL stops or falls silent under load. Known keys are served, events wait in the spool, and when it is
back the ledger goes on by itself, with nothing lost or doubled. It never has more connections than processes may open.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.kit.databases import migrate
from tests.kit.load import Load, Numbered, the_books_balance
from tests.kit.management import set_price
from tests.kit.outages import postgres_outage
from tests.kit.services import PostgresServer, Services, processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from usage.journal.stream import EVENTS

MODEL = "gpt-4.1-mini"
ANSWERS = 100
RETURN_SECS = 60
"""The ledger process gives way to all others, and beside a busy machine it is long in coming."""
OUTAGES = 2
OF_A_WORKER = 3
"""One for changes, one for look-ups, one for the request of the control plane that it answers."""

OF_THE_LEDGER = 10
"""One writes rows, one looks for what is due, and four tasks at once have one each, and one that keeps their lease."""


@pytest.fixture(scope="module")
def postgres(services: Services) -> Iterator[PostgresServer]:
    with PostgresServer("synchronous_commit=on") as server:
        yield server


@pytest.fixture(scope="module", params=["one process", "two hosts"])
def servers(request: pytest.FixtureRequest, postgres: PostgresServer, _upstream: Upstream) -> Iterator[list[Sluice]]:
    url = postgres.url_of(postgres.create())
    migrate(url)
    settings: dict[str, Any] = {"upstream_url": _upstream.url, "LOG_LEVEL": "warning", "JOURNAL_CLAIM_SECS": 1}
    with ExitStack() as held:
        if request.param == "one process":
            servers = [Sluice.start(url, **settings)]
        else:
            first = Sluice.start(url, redis=True, workers=2, **settings)
            held.callback(first.close)
            servers = [first, Sluice.start(url, redis=first.redis_url, workers=2, **settings)]
        held.callback(servers[-1].close)
        set_price(servers[0], MODEL)
        yield servers


class Watch:
    """Counts the connections to a database for as long as it lasts; `most` is the largest number."""

    QUESTION = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

    def __init__(self, url: str) -> None:
        self.most = 0
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(20)

    def _look(self) -> None:
        while not self._over.is_set():
            # Gone with the server, as all others are.
            with (
                contextlib.suppress(psycopg.OperationalError),
                psycopg.connect(self._url, autocommit=True, connect_timeout=2) as connection,
            ):
                while not self._over.wait(0.05):
                    (count,) = connection.execute(self.QUESTION).fetchone() or (0,)
                    self.most = max(self.most, count)
            self._over.wait(0.05)


def connections_allowed(servers: list[Sluice]) -> int:
    return sum(len(server.worker_pids()) * OF_A_WORKER + OF_THE_LEDGER for server in servers)


def waiting(server: Sluice) -> float:
    return server.metrics().total("llm_proxy_journal_lag_events", consumer="ledger")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["stopped", "frozen"])
def test_known_keys_are_served_and_nothing_is_lost_or_doubled(
    kind: str, servers: list[Sluice], postgres: PostgresServer, upstream: Upstream
) -> None:
    provider = upstream.script = Numbered()
    load = Load(servers)
    allowed = connections_allowed(servers)
    with Watch(servers[0].database_url) as watch, load.running():
        load.wait_for(ANSWERS)
        for _ in range(OUTAGES):
            with postgres_outage(postgres, kind):
                load.wait_for(ANSWERS)
                for server in servers:
                    assert processes.poll(partial(waiting, server), timeout=RETURN_SECS), "events wait in the spool"
            load.wait_for(ANSWERS)
            assert processes.poll(lambda: all(is_available(server) for server in servers), timeout=RETURN_SECS)
        load.wait_for(ANSWERS)
    the_books_balance(servers[0], load, provider, exactly=True)
    assert 0 < watch.most <= allowed


def is_available(server: Sluice) -> bool:
    return server.metrics().total("llm_proxy_ledger_available") == 1


@pytest.mark.timeout(300)
def test_what_redis_held_for_the_ledger_is_sent_again_when_it_is_lost(
    servers: list[Sluice], postgres: PostgresServer, upstream: Upstream
) -> None:
    """All is shipped, nothing can be written, and then Redis starts anew, empty."""
    redis = servers[0].redis
    if redis is None:
        pytest.skip("there is no Redis, or one that cannot be broken")
    provider = upstream.script = Numbered()
    load = Load(servers)
    with load.running():
        load.wait_for(ANSWERS)
        with postgres_outage(postgres, "stopped"):
            load.wait_for(ANSWERS)
            with redis.client() as client:
                given = provider.given
                assert processes.poll(
                    lambda: client.xinfo_stream(EVENTS)["entries-added"] >= given, timeout=RETURN_SECS
                )
            redis.stop()
            load.wait_for(ANSWERS)
            redis.start()
        load.wait_for(ANSWERS)
    the_books_balance(servers[0], load, provider, exactly=True)
