"""A response that its client deletes is not replayed any more."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.entry import ENTRY_BYTES, Entry
from cache.memory import MemoryStore
from tests.kit.caching import cache_of, id_in, key_of_project, make_response, prompt, respond, serial
from tests.kit.databases import query
from tests.kit.requests import refused
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import MODEL, Chunk, EndChunks, Upstream, WaitFor, response_frames, stream_head
from tests.kit.vitals import is_idle
from tests.kit.waiting import soon

pytestmark = pytest.mark.key(project={"cache_policy": "on"})

FORMS = [{}, {"stream": True}]


@pytest.mark.parametrize("form", FORMS, ids=["plain", "stream"])
def test_a_response_that_is_deleted_is_not_replayed(sluice: Sluice, upstream: Upstream, key: str, form):
    upstream.script = make_response
    asked, other = {**prompt(), **form}, prompt()
    made = respond(sluice, key, **asked)
    respond(sluice, key, **other)
    for streams in (False, True):
        assert cache_of(respond(sluice, key, **{**asked, "stream": streams})) == "HIT"
    assert respond(sluice, key, f"/{id_in(made)}", method="DELETE").status_code == 200
    again = respond(sluice, key, **asked)
    assert cache_of(again) == "MISS"
    assert id_in(again) != id_in(made)
    assert cache_of(respond(sluice, key, **{**asked, "stream": not form})) == "HIT"  # of the new one
    assert cache_of(respond(sluice, key, **other)) == "HIT"


def test_a_response_that_is_deleted_before_its_stream_ends_is_neither_joined_nor_stored(
    sluice: Sluice, upstream: Upstream, key: str
):
    go, response_id = threading.Event(), f"resp_{next(serial)}"
    frames = response_frames(response_id=response_id)
    upstream.answers([stream_head(), *map(Chunk, frames), WaitFor(go), EndChunks()])
    upstream.script = make_response
    asked = {"model": MODEL, **prompt(), "stream": True}
    with sluice.client(key).stream("POST", "/v1/responses", json=asked) as first:
        pieces = first.iter_bytes()
        seen = b""
        while b"response.completed" not in seen:
            seen += next(pieces)
        assert respond(sluice, key, f"/{response_id}", method="DELETE").status_code == 200
        second = respond(sluice, key, **asked)
        assert cache_of(second) == "MISS"
        go.set()
        assert b"".join(pieces) == b""
    assert is_idle(sluice)
    again = respond(sluice, key, **asked)
    assert (cache_of(again), id_in(again)) == ("HIT", id_in(second))


def test_a_response_that_is_deleted_while_its_stream_ends_is_not_stored(sluice: Sluice, upstream: Upstream, key: str):
    go, response_id = threading.Event(), f"resp_{next(serial)}"
    upstream.answers([stream_head(), *map(Chunk, response_frames(response_id=response_id)), WaitFor(go), EndChunks()])
    upstream.script = make_response
    asked = {"model": MODEL, **prompt(), "stream": True}
    with sluice.client(key).stream("POST", "/v1/responses", json=asked) as first:
        pieces = first.iter_bytes()
        assert b"response.created" in next(pieces)
        assert respond(sluice, key, f"/{response_id}", method="DELETE").status_code == 200
        go.set()
        for _ in pieces:
            pass
    assert is_idle(sluice)
    assert cache_of(respond(sluice, key, **asked)) == "MISS"


def test_a_project_that_may_not_delete_it_changes_nothing(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = make_response
    asked = prompt()
    made = respond(sluice, key, **asked)
    refused(respond(sluice, key_of_project(sluice), f"/{id_in(made)}", method="DELETE"), 404, "response_not_found")
    assert cache_of(respond(sluice, key, **asked)) == "HIT"


# --- the store ----------------------------------------------------------------------------------------------


def entry(stored_id: str, size: int = 100) -> Entry:
    return Entry(200, [], ((0.0, b"x" * size),), False, False, False, 1, "m", 0.0, 100.0, stored_id=stored_id)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "remove", "delete"]),
            st.sampled_from("abcdef"),
            st.sampled_from(["", "r1", "r2", "r3"]),
            st.integers(0, 10 * ENTRY_BYTES),
        )
    )
)
def test_what_is_deleted_is_gone_and_stays_gone(steps: list[tuple[str, str, str, int]]):
    store, there, deleted = MemoryStore(1000 * ENTRY_BYTES), dict[str, Entry](), set[str]()
    for what, name, stored_id, size in steps:
        if what == "put":
            new = entry(stored_id, size)
            store.put((name, False), new)
            if stored_id not in deleted:
                there[name] = new
        elif what == "remove":
            there.pop(name, None)
            store.remove((name, False))
        elif stored_id:
            deleted.add(stored_id)
            there = {each: kept for each, kept in there.items() if kept.stored_id != stored_id}
            store.delete_stored(stored_id)
        assert {each: store.get((each, False), 1.0) for each in there} == there
        assert len(store) == len(there)
        assert store.used_bytes == sum(each.size for each in there.values())


def test_what_goes_by_itself_leaves_nothing_behind():
    store = MemoryStore(3 * entry("x").size)
    for number in range(100):
        store.put((str(number), False), entry(f"r{number}"))
    assert len(store) == 3
    for number in range(97, 100):
        store.delete_stored(f"r{number}")
    assert len(store) == store.used_bytes == 0
    assert store.stored_ids == 0


def test_the_record_of_what_was_deleted_is_bounded():
    store = MemoryStore(1000 * ENTRY_BYTES)
    for number in range(20_000):
        store.delete_stored(f"r{number}")
    store.put(("a", False), entry("r19999"))
    store.put(("b", False), entry("r0"))
    assert store.get(("a", False), 1.0) is None
    assert store.get(("b", False), 1.0) is not None


def test_no_process_replays_a_response_that_another_one_was_told_to_delete(
    start_sluice: StartSluice, upstream: Upstream
):
    """Neither from its memory, nor from Redis or the database, also after a restart."""
    one = start_sluice("postgres", redis=True)
    two = start_sluice(one.database_url, redis=one.redis_url)
    key = key_of_project(one)
    upstream.script = make_response
    asked, other = prompt(), prompt()
    made = respond(one, key, **asked)
    respond(one, key, **other)
    soon(lambda: len(query(one.database_url, "SELECT name FROM cache_cachedresponse")) == 2)
    assert cache_of(respond(two, key, **asked)) == "HIT"
    assert respond(one, key, f"/{id_in(made)}", method="DELETE").status_code == 200
    soon(lambda: respond(two, key, headers={"cache-control": "only-if-cached"}, **asked).status_code == 504)
    two.stop()
    two.launch()
    again = respond(two, key, **asked)
    assert (cache_of(again), id_in(again) != id_in(made)) == ("MISS", True)
    assert cache_of(respond(two, key, **other)) == "HIT"
    assert two.api("GET", "/api/audit?target_kind=purge").json()["results"] == []
