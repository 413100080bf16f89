"""X90: connections to PostgreSQL or Redis fall silent while new ones would work. A key that is revoked elsewhere is
refused all the same, new keys are looked up, and it is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.kit.databases import make_database
from tests.kit.management import minted
from tests.kit.requests import ask
from tests.kit.services import Services
from tests.kit.services.silent_proxy import SilentProxy
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import soon

FEED = "change-feed"


def through(proxy: SilentProxy, url: str) -> str:
    parts = urlsplit(url)
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{proxy.port}"))


@pytest.fixture
def behind(services: Services, start_sluice: StartSluice) -> Iterator[tuple[Sluice, Sluice, SilentProxy]]:
    """One server that reaches PostgreSQL through a proxy, one beside it, and the proxy."""
    url = make_database("postgres")
    with SilentProxy(urlsplit(services.postgres.url).port or 5432) as proxy:
        yield start_sluice(database=through(proxy, url)), start_sluice(database=url), proxy


def failures(server: Sluice, loop: str) -> float:
    return server.metrics().total("llm_proxy_loop_failures_total", loop=loop)


def test_a_key_revoked_elsewhere_is_refused_when_all_connections_fall_silent(
    behind: tuple[Sluice, Sluice, SilentProxy], upstream: Upstream
):
    server, elsewhere, proxy = behind
    key_id, key = minted(elsewhere)
    assert ask(server, key).status_code == 200
    assert failures(server, FEED) == 0
    assert proxy.silence() > 0
    # A transaction that has fallen silent may hold a lock, for as long as PostgreSQL waits for its client.
    assert elsewhere.api("POST", f"/api/keys/{key_id}/revoke", timeout=60).status_code == 200
    _, another = minted(elsewhere)
    soon(lambda: ask(server, key).status_code == 401)
    soon(lambda: ask(server, another).status_code == 200)
    soon(lambda: failures(server, FEED) > 0)
    soon(lambda: server.metrics().total("llm_proxy_loop_up", loop=FEED) == 1)
    assert "The database says nothing" in server.log_text()


def test_a_subscription_that_falls_silent_is_made_anew(start_sluice: StartSluice, services: Services):
    redis = services.redis()
    with SilentProxy(urlsplit(redis if isinstance(redis, str) else redis.url).port or 6379) as proxy:
        server = start_sluice(redis=f"redis://127.0.0.1:{proxy.port}/0")
        soon(lambda: server.metrics().total("llm_proxy_loop_up", loop="change-channel") == 1)
        assert proxy.silence() > 0
        soon(lambda: failures(server, "change-channel") > 0)
        soon(lambda: server.metrics().total("llm_proxy_loop_up", loop="change-channel") == 1)
        server.close()
    if not isinstance(redis, str):
        redis.stop()
