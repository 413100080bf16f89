"""F83: every hit gives the same, whether the answer is read again or what was sent before is sent again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from cache.entry import Entry, Handed
from cache.memory import MemoryStore
from tests.kit.caching import cache_of, key_of_project, question, serial
from tests.kit.ledger import row_of
from tests.kit.management import changed, minted, new_project
from tests.kit.providers import add_provider
from tests.kit.requests import STREAM, WITH_USAGE, ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Chunk, EndChunks, Upstream, chat_frames, chat_stream, json_answer, stream_head, usage_of
from tests.kit.waiting import soon

pytestmark = pytest.mark.key(project={"cache_policy": "on"})

OF_EACH_REQUEST = {
    "date",
    "server-timing",
    "x-request-id",
    "age",
    "cache-status",
    "x-cache",
    "x-cache-hit",
    "x-provider",
}


def told(answer: httpx.Response) -> dict[str, str]:
    """The headers that do not differ from request to request."""
    return {
        name: value
        for name, value in answer.headers.items()
        if name not in OF_EACH_REQUEST and not name.startswith("x-ratelimit")
    }


@pytest.mark.parametrize("body", [{}, STREAM, WITH_USAGE], ids=["plain", "stream", "with-usage"])
def test_all_hits_are_like_the_first(sluice: Sluice, upstream: Upstream, key: str, body: dict[str, Any]):
    if body:
        upstream.script = chat_stream(usage=usage_of(11, 5))
    asked = {**body, **question()}
    first, *hits = [ask(sluice, key, **asked) for _ in range(5)]
    assert [cache_of(answer) for answer in (first, *hits)] == ["MISS", *["HIT"] * 4]
    assert {answer.content for answer in hits} == {first.content}
    assert all(told(answer) == told(hits[0]) for answer in hits)
    rows = [row_of(sluice, answer.headers["x-request-id"]) for answer in (first, *hits)]
    assert len({row["response_id"] for row in rows}) == 1
    assert rows[0]["response_id"]
    assert {(row["outcome"], row["status_code"], row["response_bytes"]) for row in rows} == {
        ("complete", 200, len(first.content))
    }
    assert {(row["cost_picousd"], row["prompt_tokens"], row["stream"]) for row in rows[1:]} == {(0, None, bool(body))}


def test_each_gets_the_form_it_asks_for_however_often_they_change(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = chat_stream(usage=usage_of(11, 5))
    asked = question()
    for _ in range(3):
        assert b'"usage"' in ask(sluice, key, **{**WITH_USAGE, **asked}).content
        assert b'"usage"' not in ask(sluice, key, **{**STREAM, **asked}).content
        assert ask(sluice, key, **asked).json()["usage"]["prompt_tokens"] == 11
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_the_clients_own_name_for_the_model_is_in_every_hit(sluice: Sluice, upstream: Upstream, stream: bool):
    name = f"fast-{next(serial)}"
    add_provider(sluice, upstream.url, name, {name: "gpt-4.1-mini"})
    key = key_of_project(sluice)
    asked = {**question(), "model": name, "stream": stream}
    answers = [ask(sluice, key, **asked) for _ in range(4)]
    assert [cache_of(answer) for answer in answers] == ["MISS", *["HIT"] * 3]
    for answer in answers:
        assert name in answer.text
        assert '"gpt-4.1-mini"' not in answer.text


def test_a_replay_takes_its_time_also_after_one_that_did_not(sluice: Sluice, upstream: Upstream, key: str):
    frames = chat_frames(usage=usage_of(3, 4))
    upstream.script = [stream_head(), Chunk(frames[0]), *map(Chunk, frames[1:]), EndChunks()]
    asked = {**STREAM, **question()}
    plain = [ask(sluice, key, **asked) for _ in range(3)]
    timed = ask(sluice, key, headers={"x-cache-replay": "timed"}, **asked)
    assert cache_of(timed) == "HIT"
    assert {answer.content for answer in (*plain, timed)} == {plain[0].content}


def test_bodies_of_hits_are_kept_where_a_project_wants_them(sluice: Sluice, upstream: Upstream):
    project = new_project(sluice, cache_policy="on")
    _, key = minted(sluice, project=project)
    asked = question()
    for cache in ("MISS", "HIT", "HIT"):
        assert cache_of(ask(sluice, key, **asked)) == cache
    changed(sluice, f"/api/projects/{project}", capture_bodies="all")
    answer = ask(sluice, key, **asked)
    assert cache_of(answer) == "HIT"
    path = f"/api/requests/{answer.headers['x-request-id']}/bodies"
    soon(lambda: answer.json()["id"] in sluice.api("GET", path).text)


def test_an_answer_without_a_body_that_can_be_read_stays_a_miss(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = json_answer([1, 2])
    asked = question()
    assert [ask(sluice, key, **asked).status_code for _ in range(3)] == [502] * 3


def test_what_is_sent_again_takes_room_of_the_bound():
    store = MemoryStore(5_000)
    entry = Entry(200, [], ((0.0, b"x" * 1000),), False, False, False, 1, "m", 0.0, 10.0)
    handed = Handed((None, False), b"a: b\r\n", (b"x" * 1000,), "id")
    full = Entry(200, [], entry.pieces, False, False, False, 1, "m", 0.0, 10.0, handed=handed)
    store.put(("a", False), entry)
    before = store.used_bytes
    store.replace(("a", False), entry, full)
    assert store.used_bytes - before == handed.size > 1000
    assert store.get(("a", False), 1.0) is full
    store.replace(("a", False), entry, entry)  # it was replaced meanwhile
    assert store.get(("a", False), 1.0) is full
    store.remove(("a", False))
    store.replace(("a", False), full, entry)
    assert len(store) == store.used_bytes == 0


@pytest.mark.parametrize("body", [{}, WITH_USAGE], ids=["plain", "stream"])
def test_what_was_sent_again_in_one_form_is_not_sent_in_the_other(
    sluice: Sluice, upstream: Upstream, key: str, body: dict[str, Any]
):
    if body:
        upstream.script = chat_stream(usage=usage_of(11, 5))
    asked = question()
    for _ in range(3):
        ask(sluice, key, **{**body, **asked})
    other = ask(sluice, key, **{**({} if body else WITH_USAGE), **asked})
    assert cache_of(other) == "HIT"
    assert other.headers["content-type"].startswith("application/json" if body else "text/event-stream")
    assert other.content.startswith(b"{" if body else b"data: ")
