"""F11: `/health/detailed` says of each part how it is, to strangers no more than that, and never hangs with a part."""

from __future__ import annotations

from collections.abc import Callable

from tests.kit import plain
from tests.kit.environment import MANAGEMENT_TOKEN, ROOT
from tests.kit.health import becomes, detailed, health_of
from tests.kit.requests import ask
from tests.kit.services import PostgresServer, processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, error_answer
from tests.kit.waiting import soon

STATUSES = {"ok", "degraded", "down", "unknown"}


def test_all_is_well_and_strangers_learn_no_more(sluice: Sluice, upstream: Upstream):
    stranger = detailed(sluice, None)
    assert (stranger.status_code, stranger.headers["cache-control"]) == (200, "no-store")
    document = stranger.json()
    assert document.keys() == {"status", "version", "components"}
    assert document["status"] == "ok"
    assert document["components"].keys() == {"database", "ledger", "journal", "loops", "configuration", "providers"}
    assert all(part.keys() == {"status"} and part["status"] in STATUSES for part in document["components"].values())
    assert sluice.client().head("/health/detailed").content == b""
    assert sluice.client().post("/health/detailed").status_code == 405


def test_operators_learn_all_of_it(sluice: Sluice, upstream: Upstream):
    sluice.manage("providers", "check")
    soon(lambda: health_of(sluice)["components"]["providers"]["status"] == "ok")
    document = health_of(sluice)
    assert document["uptime_s"] > 0
    assert document["components"]["database"]["latency_ms"] > 0
    assert document["components"]["ledger"]["caught_up_at"]
    assert document["components"]["journal"]["lag_bytes"] >= 0
    assert all(part["since"] for part in document["components"].values())
    (provider,) = document["providers"]
    assert provider["name"] == "openai"
    assert provider["status"] == "ok"
    assert provider["latency_ms"] > 0
    assert provider["since"] == provider["checked_at"]
    metrics = sluice.metrics()
    assert metrics.total("llm_proxy_provider_health", provider="openai") == 1
    assert metrics.total("llm_proxy_provider_latency_seconds", provider="openai") > 0


def test_a_wrong_token_is_told_so_and_a_client_key_is_none(sluice: Sluice, upstream: Upstream):
    for wrong in ("x", sluice.mint()):
        answer = plain.get(f"{sluice.url}/health/detailed", headers={"authorization": f"Bearer {wrong}"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_management_token")


def test_redis_going_away_is_told_and_so_is_its_return(start_sluice: Callable[..., Sluice], upstream: Upstream):
    server = start_sluice(redis=True)
    assert health_of(server)["components"]["redis"]["status"] == "ok"
    assert server.redis is not None
    server.redis.stop()
    assert "No answer" in becomes(server, "redis", "down", "degraded")["components"]["redis"]["detail"]
    server.redis.start()
    becomes(server, "redis", "ok", "ok")


def test_a_redis_that_hangs_holds_nobody_up(start_sluice: Callable[..., Sluice], upstream: Upstream):
    server = start_sluice(redis=True)
    key = server.mint(rpm=1_000)
    assert ask(server, key).status_code == 200
    soon(lambda: server.metrics().total("llm_proxy_limiter_shared") == 1)
    assert server.redis is not None
    server.redis.freeze()
    try:
        becomes(server, "redis", "down", "degraded")
        assert ask(server, key).status_code == 200
        soon(lambda: server.metrics()["llm_proxy_limiter_shared"] == 0)
    finally:
        server.redis.thaw()
    becomes(server, "redis", "ok", "ok")
    soon(lambda: server.metrics()["llm_proxy_limiter_shared"] == 1)


def test_the_database_going_away_is_told_and_known_keys_are_served(
    start_sluice: Callable[..., Sluice], upstream: Upstream
):
    with PostgresServer() as postgres:
        server = start_sluice(database=prepared(postgres))
        key = server.mint()
        assert ask(server, key).status_code == 200
        server.rows(expect=1)
        assert health_of(server)["status"] == "ok"
        postgres.stop()
        becomes(server, "database", "down", "degraded")
        assert ask(server, key).status_code == 200
        document = becomes(server, "ledger", "down", "degraded")
        assert "takes no rows" in document["components"]["ledger"]["detail"]
        assert document["components"]["journal"]["lag_bytes"] > 0
        postgres.start()
        becomes(server, "database", "ok", "ok")
        becomes(server, "ledger", "ok", "ok")
        server.close()


def prepared(postgres: PostgresServer) -> str:
    """An empty installation's database there."""
    import sys

    from tests.kit.environment import server_environment

    url = postgres.url_of(postgres.create())
    env = server_environment(DATABASE_URL=url, DATA_DIR=postgres.directory / "sluice")
    processes.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=env, check=True)
    return url


def test_nobody_writing_the_ledger_is_told(start_sluice: Callable[..., Sluice], upstream: Upstream):
    server = start_sluice(LEDGER_WRITER="separate")
    assert "No process writes" in becomes(server, "ledger", "down", "degraded")["components"]["ledger"]["detail"]
    import sys

    writer = processes.start([sys.executable, "manage.py", "ledger"], env=server.env, cwd=ROOT)
    try:
        becomes(server, "ledger", "ok", "ok")
    finally:
        processes.end(writer)
    becomes(server, "ledger", "down", "degraded")


def test_a_full_journal_is_told(start_sluice: Callable[..., Sluice], upstream: Upstream):
    """Beyond its bound events are dropped; who has to pay for it must see it."""
    server = start_sluice(LEDGER_WRITER="separate", JOURNAL_MAX_BYTES=1024**2, LOG_LEVEL="error")
    client = server.client(headers={"x-correlation-id": "c" * 128})
    long = "/v1/thoughts/" + "x" * 190

    def ask_many() -> bool:
        for _ in range(200):
            client.get(long)
        return bool(health_of(server)["components"]["journal"]["status"] == "down")

    assert processes.poll(ask_many, timeout=45)
    document = health_of(server)
    assert "full" in document["components"]["journal"]["detail"]
    assert document["components"]["journal"]["lag_bytes"] > 1024**2 // 2
    assert document["status"] == "degraded"


def test_without_a_provider_that_can_serve_it_is_unavailable(start_sluice: Callable[..., Sluice], upstream: Upstream):
    empty = start_sluice(upstream_url=None)
    assert "No provider" in becomes(empty, "providers", "down", "unavailable", 503)["components"]["providers"]["detail"]
    server = start_sluice()
    upstream.script = error_answer(503)
    server.manage("providers", "check")
    document = becomes(server, "providers", "down", "unavailable", 503)
    assert document["providers"][0]["detail"] == "It answered 503."
    upstream.script = None
    server.manage("providers", "check")
    becomes(server, "providers", "ok", "ok")


def test_the_admin_surface_tells_of_its_own_parts(start_sluice: Callable[..., Sluice], upstream: Upstream):
    """It writes no journal, and serves as long as the database is there."""
    server = start_sluice(surface="admin", upstream_url=None)
    document = health_of(server)
    assert document["components"].keys() == {"database", "loops", "configuration", "providers"}
    assert (document["status"], document["components"]["database"]["status"]) == ("degraded", "ok")


def test_however_often_it_is_asked_the_database_is_asked_once_a_second(sluice: Sluice, upstream: Upstream):
    """Answers within a second are one answer: the measured latency would differ."""
    client = sluice.client(headers={"authorization": f"Bearer {MANAGEMENT_TOKEN}"})
    times = [client.get("/health/detailed").json() for _ in range(60)]
    spans = {(document["uptime_s"], document["components"]["database"]["latency_ms"]) for document in times}
    assert len(spans) <= 2 + times[-1]["uptime_s"] - times[0]["uptime_s"]
