"""F86, P33: what one process stored answers in all, outlives them, and no tier that fails harms a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kit.caching import cache_of, key_of_project, question
from tests.kit.databases import execute, migrate, query
from tests.kit.management import minted, new_project
from tests.kit.requests import STREAM, WITH_USAGE, ask
from tests.kit.services import PostgresServer, Services
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import Upstream, chat_stream, usage_of
from tests.kit.waiting import soon

WHERE: dict[str, dict[str, Any]] = {
    "SQLite": {},
    "PostgreSQL": {"database": "postgres"},
    "Redis": {"redis": True, "HTTP_CACHE_STORE": False},
    "PostgreSQL and Redis": {"database": "postgres", "redis": True},
}


@pytest.fixture(scope="module")
def own_postgres(services: Services) -> Iterator[PostgresServer]:
    with PostgresServer("synchronous_commit=on") as server:
        yield server


def rows(sluice: Sluice) -> list[dict[str, Any]]:
    return query(sluice.database_url, "SELECT name, hit_count FROM cache_cachedresponse ORDER BY created_at")


def in_redis(sluice: Sluice) -> int:
    assert sluice.redis is not None
    with sluice.redis.client() as client:
        return len(list(client.scan_iter("*:entry:*")))


def is_kept(sluice: Sluice, count: int) -> Callable[[], bool]:
    """Whether the tiers behind the memory have so many entries."""
    keeps_rows, has_redis = sluice.env.get("HTTP_CACHE_STORE", "").lower() != "false", bool(sluice.redis_url)
    return lambda: (not keeps_rows or len(rows(sluice)) == count) and (not has_redis or in_redis(sluice) == count)


# --- what is stored outlives the process ---------------------------------------------------------------------


@pytest.mark.parametrize("where", list(WHERE.values()), ids=list(WHERE))
def test_an_answer_outlives_the_process_that_stored_it(
    start_sluice: StartSluice, upstream: Upstream, where: dict[str, Any]
):
    """Plain and streamed, byte for byte, and in the other form."""
    sluice = start_sluice(**where)
    key = key_of_project(sluice)
    plain, streamed = question(), question()
    first = ask(sluice, key, **plain)
    upstream.script = chat_stream(usage=usage_of(11, 5))
    first_stream = ask(sluice, key, **{**WITH_USAGE, **streamed})
    soon(is_kept(sluice, 2))
    sluice.stop()
    sluice.launch()
    again, again_stream = ask(sluice, key, **plain), ask(sluice, key, **{**WITH_USAGE, **streamed})
    assert [cache_of(each) for each in (again, again_stream)] == ["HIT", "HIT"]
    assert (again.content, again_stream.content) == (first.content, first_stream.content)
    hidden = ask(sluice, key, **{**STREAM, **streamed})
    assert cache_of(hidden) == "HIT"
    assert b'"usage"' not in hidden.content
    assert len(upstream.requests) == 2
    sluice.stop()
    sluice.launch()
    assert cache_of(ask(sluice, key, **{**WITH_USAGE, **plain})) == "HIT"  # the other form of what only the tiers have
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("where", ["Redis", "PostgreSQL", "PostgreSQL and Redis"])
def test_all_workers_and_servers_answer_what_one_stored(start_sluice: StartSluice, upstream: Upstream, where: str):
    one = start_sluice(**WHERE[where])
    other = start_sluice(**{**WHERE[where], "database": one.database_url, "redis": one.redis_url})
    key = key_of_project(one)
    asked = question()
    assert cache_of(ask(one, key, **asked)) == "MISS"
    soon(is_kept(one, 1))
    assert [cache_of(ask(other, key, **asked)) for _ in range(2)] == ["HIT", "HIT"]
    assert len(upstream.requests) == 1


def test_what_the_database_has_is_put_into_redis_again(start_sluice: StartSluice, upstream: Upstream):
    sluice = start_sluice("postgres", redis=True)
    key = key_of_project(sluice)
    asked = question()
    ask(sluice, key, **asked)
    soon(is_kept(sluice, 1))
    sluice.stop()
    assert sluice.redis is not None
    with sluice.redis.client() as client:
        client.flushall()
    sluice.launch()
    assert cache_of(ask(sluice, key, **asked)) == "HIT"
    soon(is_kept(sluice, 1))
    assert len(upstream.requests) == 1


def test_it_expires_in_every_tier(start_sluice: StartSluice, upstream: Upstream):
    sluice = start_sluice("postgres", redis=True)
    key = key_of_project(sluice, cache_ttl_s=1)
    asked = question()
    ask(sluice, key, **asked)
    stored_at = time.time()
    soon(lambda: len(rows(sluice)) == 1)
    soon(lambda: in_redis(sluice) == 0)
    soon(lambda: time.time() > stored_at + 1)
    assert cache_of(ask(sluice, key, **asked)) == "MISS"
    assert len(upstream.requests) == 2


def test_a_project_sees_nothing_of_another_in_any_tier(start_sluice: StartSluice, upstream: Upstream):
    sluice = start_sluice("postgres", redis=True)
    mine, theirs = key_of_project(sluice), key_of_project(sluice)
    asked = question()
    ask(sluice, mine, **asked)
    soon(is_kept(sluice, 1))
    sluice.stop()
    sluice.launch()
    assert cache_of(ask(sluice, theirs, **asked)) == "MISS"
    assert cache_of(ask(sluice, mine, **asked)) == "HIT"


def test_a_revoked_key_gets_nothing_of_any_tier(start_sluice: StartSluice, upstream: Upstream):
    sluice = start_sluice("postgres", redis=True)
    project = new_project(sluice, cache_policy="on")
    key, revoked = minted(sluice, project=project)[1], minted(sluice, project=project)
    asked = question()
    ask(sluice, key, **asked)
    soon(is_kept(sluice, 1))
    sluice.api("POST", f"/api/keys/{revoked[0]}/revoke")
    assert ask(sluice, revoked[1], **asked).status_code == 401
    assert cache_of(ask(sluice, key, **asked)) == "HIT"


def test_nothing_is_kept_where_the_database_is_not_to_be_used(start_sluice: StartSluice, upstream: Upstream):
    sluice = start_sluice(HTTP_CACHE_STORE=False)
    key = key_of_project(sluice)
    asked = question()
    ask(sluice, key, **asked)
    assert cache_of(ask(sluice, key, **asked)) == "HIT"
    sluice.stop()
    assert rows(sluice) == []
    sluice.launch()
    assert cache_of(ask(sluice, key, **asked)) == "MISS"


def test_hits_are_counted_in_the_row(start_sluice: StartSluice, upstream: Upstream):
    """Also those of the other form."""
    sluice = start_sluice()
    key = key_of_project(sluice)
    asked = question()
    ask(sluice, key, **asked)
    ask(sluice, key, **asked)
    ask(sluice, key, **{**STREAM, **asked})
    soon(lambda: [row["hit_count"] for row in rows(sluice)] == [2])
    [row] = query(sluice.database_url, "SELECT last_hit_at FROM cache_cachedresponse")
    assert row["last_hit_at"] is not None


def test_a_stop_stores_what_waits(start_sluice: StartSluice, upstream: Upstream):
    sluice = start_sluice()
    key = key_of_project(sluice)
    ask(sluice, key, **question())
    sluice.stop()
    assert len(rows(sluice)) == 1


# --- a tier that fails is a miss ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stopped", "frozen"])
def test_requests_are_served_while_redis_is_away(start_sluice: StartSluice, upstream: Upstream, kind: str):
    sluice = start_sluice(redis=True, HTTP_CACHE_STORE=False)
    key = key_of_project(sluice)
    known, unknown = question(), question()
    ask(sluice, key, **known)
    soon(is_kept(sluice, 1))
    redis = sluice.redis
    assert redis is not None
    redis.stop() if kind == "stopped" else redis.freeze()
    try:
        assert cache_of(ask(sluice, key, **known)) == "HIT"
        assert cache_of(ask(sluice, key, **unknown)) == "MISS"
        assert cache_of(ask(sluice, key, **unknown)) == "HIT"
    finally:
        redis.start() if kind == "stopped" else redis.thaw()
    # It is asked again by itself.
    soon(lambda: cache_of(ask(sluice, key, **question())) == "MISS" and in_redis(sluice) > 1)


@pytest.mark.parametrize("kind", ["stopped", "frozen"])
def test_requests_are_served_while_postgres_is_away(
    start_sluice: StartSluice, upstream: Upstream, kind: str, own_postgres: PostgresServer
):
    url = own_postgres.url_of(own_postgres.create())
    migrate(url)
    sluice = start_sluice(url)
    key = key_of_project(sluice)
    known, unknown = question(), question()
    ask(sluice, key, **known)
    soon(is_kept(sluice, 1))
    own_postgres.stop() if kind == "stopped" else own_postgres.freeze()
    try:
        assert cache_of(ask(sluice, key, **known)) == "HIT"
        assert cache_of(ask(sluice, key, **unknown)) == "MISS"
        assert cache_of(ask(sluice, key, **unknown)) == "HIT"
    finally:
        own_postgres.start() if kind == "stopped" else own_postgres.thaw()
    soon(is_kept(sluice, 2), 60)


def test_what_another_version_wrote_is_a_miss(start_sluice: StartSluice, upstream: Upstream):
    sluice = start_sluice("postgres", redis=True)
    key = key_of_project(sluice)
    asked = question()
    ask(sluice, key, **asked)
    soon(is_kept(sluice, 1))
    sluice.stop()
    execute(sluice.database_url, "UPDATE cache_cachedresponse SET packed = '\\x30aabb'")
    assert sluice.redis is not None
    with sluice.redis.client() as client:
        for name in client.scan_iter("*:entry:*"):
            client.set(name, b"1 and no entry")
    sluice.launch()
    assert cache_of(ask(sluice, key, **asked)) == "MISS"
    assert cache_of(ask(sluice, key, **asked)) == "HIT"


def test_redis_without_redis_is_refused_at_the_start(start_sluice: StartSluice):
    with pytest.raises(RuntimeError, match="HTTP_CACHE_BACKEND: redis needs REDIS_URL"):
        start_sluice(HTTP_CACHE_BACKEND="redis")
