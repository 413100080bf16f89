"""P34, the journal's part: Redis is gone, silent or emptied under load, and no event is lost or doubled.

Two hosts. While Redis is away the ledger is written from the spool, so rows stay fresh; when it is back, all goes on by
itself. Everything is compared with the provider's own count.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.kit.load import Load, Numbered, the_books_balance
from tests.kit.management import set_price
from tests.kit.outages import redis_outage
from tests.kit.services import RedisServer, Services, processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from usage.journal.stream import EVENTS
from usage.journal.subscribers import LEDGER

PATIENCE_S = 90
"""The ledger's process has less of the processor than all others, and says nothing while these want all of it."""

OUTAGES = 2
ANSWERS = 60
MODEL = "gpt-4.1-mini"


@pytest.fixture(scope="module")
def servers(services: Services, _upstream: Upstream) -> Iterator[list[Sluice]]:
    settings: dict[str, Any] = {
        "upstream_url": _upstream.url,
        "LOG_LEVEL": "warning",
        "JOURNAL_CLAIM_SECS": 1,
        "workers": 2,
    }
    with Sluice.start("postgres", redis=True, **settings) as first:
        if first.redis is None:
            pytest.skip("the Redis that is given cannot be broken")
        with Sluice.start(first.database_url, redis=first.redis_url, **settings) as second:
            set_price(first, MODEL)
            yield [first, second]


def redis_of(servers: list[Sluice]) -> RedisServer:
    assert servers[0].redis is not None
    return servers[0].redis


def rows(server: Sluice) -> int:
    return len(server.rows())


def has_rows(server: Sluice, more_than: int) -> bool:
    return rows(server) > more_than


def says(server: Sluice, available: int) -> bool:
    return server.metrics().total("llm_proxy_journal_redis_available") == available


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["stopped", "frozen", "emptied"])
def test_no_event_is_lost_or_doubled(kind: str, servers: list[Sluice], upstream: Upstream) -> None:
    provider = upstream.script = Numbered()
    load = Load(servers)
    with load.running():
        for _ in range(OUTAGES):
            load.wait_for(ANSWERS)
            with redis_outage(redis_of(servers), kind):
                load.wait_for(ANSWERS)
                if kind != "emptied":
                    assert processes.poll(lambda: all(says(server, 0) for server in servers), timeout=PATIENCE_S)
                    written = rows(servers[0])
                    fresh = written + ANSWERS
                    assert processes.poll(partial(has_rows, servers[0], fresh), timeout=PATIENCE_S), (
                        "rows wait for Redis"
                    )
            assert processes.poll(lambda: all(says(server, 1) for server in servers), timeout=PATIENCE_S)
        load.wait_for(ANSWERS)
    the_books_balance(servers[0], load, provider, exactly=True)

    def is_tidy() -> bool:
        """All was shipped, written and deleted, on both hosts and in Redis."""
        lag = sum(server.metrics().total("llm_proxy_journal_lag_bytes", consumer=LEDGER) for server in servers)
        with redis_of(servers).client() as client:
            return lag == 0 and client.xlen(EVENTS) == 0

    assert processes.poll(is_tidy, timeout=PATIENCE_S, every=0.2)
