"""F87, P32: who asks the same at the same time shares one call to a provider, and nobody harms another."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit.caching import key_of_project, question, serial
from tests.kit.environment import UPSTREAM_KEY
from tests.kit.joining import BEFORE_THE_HEAD, all_ask, answers_of, caches, leader_of, under_way
from tests.kit.ledger import row_of, shown_row_of
from tests.kit.management import minted, new_project
from tests.kit.requests import CHAT, STREAM, WITH_USAGE, ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Chunk,
    Close,
    EndChunks,
    Head,
    Reset,
    Script,
    Send,
    Upstream,
    WaitFor,
    chat_answer,
    chat_frames,
    chat_stream,
    error_answer,
    stream_head,
    usage_of,
)
from tests.kit.vitals import is_idle
from tests.kit.waiting import soon
from tests.kit.wire import connect, request_bytes

pytestmark = [
    pytest.mark.server(prices={"gpt-4.1-mini": {"input": "1", "output": "2"}}),
    pytest.mark.key(project={"cache_policy": "on"}),
]

# --- one call ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, STREAM, WITH_USAGE], ids=["plain", "stream", "with-usage"])
def test_a_hundred_at_once_make_one_call(
    sluice: Sluice,
    upstream: Upstream,
    key: str,
    go: threading.Event,
    threads: ThreadPoolExecutor,
    body: dict[str, Any],
):
    usage = usage_of(11, 5)
    upstream.script = [WaitFor(go), *(chat_stream(usage=usage) if body else chat_answer(usage=usage))]
    asked = {**body, **question()}
    asking = all_ask(sluice, upstream, threads, key, 100, **asked)
    go.set()
    answers = answers_of(asking)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert (b'"usage"' in answers[0].content) is (body is not STREAM)
    assert len(upstream.requests) == 1
    assert caches(answers) == {"MISS": 1, "JOINED": 99}
    assert ask(sluice, key, **asked).headers["x-cache"] == "HIT"
    joined = next(answer for answer in answers if answer.headers["x-cache"] == "JOINED")
    assert joined.headers["cache-status"] == "Sluice; fwd=uri-miss; collapsed"
    assert joined.headers["x-cache-key"] == answers[0].headers["x-cache-key"]


def test_the_one_that_asked_pays_and_each_has_its_row(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.script = [WaitFor(go), *chat_answer(usage=usage_of(1000, 500))]
    asking = all_ask(sluice, upstream, threads, key, 3, **question())
    go.set()
    rows = [shown_row_of(sluice, answer) for answer in answers_of(asking)]
    assert [row["cache"] for row in rows] == ["MISS", "JOINED", "JOINED"]
    assert [row["cost_usd"] for row in rows] == ["0.002000000000", "0.000000000000", "0.000000000000"]
    assert [row["prompt_tokens"] for row in rows] == [1000, None, None]
    assert {row["outcome"] for row in rows} == {"complete"}
    assert len({row["provider"] for row in rows}) == 1


def test_each_is_a_request_of_its_own_for_limits(
    sluice: Sluice, upstream: Upstream, go: threading.Event, threads: ThreadPoolExecutor
):
    key = key_of_project(sluice, rpm=3)
    upstream.script = [WaitFor(go), *chat_answer()]
    asked = question()
    asking = all_ask(sluice, upstream, threads, key, 3, **asked)
    refused(ask(sluice, key, **asked), 429, "rate_limit_exceeded")
    go.set()
    assert caches(answers_of(asking)) == {"MISS": 1, "JOINED": 2}


def test_who_joins_late_gets_a_stream_from_its_first_frame(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    first_frame, *frames = chat_frames(usage=usage_of(3, 4))
    upstream.script = [stream_head(), Chunk(first_frame), WaitFor(go), *map(Chunk, frames), EndChunks()]
    asked = {**STREAM, **question()}
    with sluice.client(key).stream("POST", "/v1/chat/completions", json={**CHAT, **asked}) as leader:
        pieces = leader.iter_bytes()
        begun = next(pieces)
        with sluice.client(key).stream("POST", "/v1/chat/completions", json={**CHAT, **asked}) as follower:
            theirs = follower.iter_bytes()
            assert next(theirs) == begun  # before the provider goes on
            assert follower.headers["x-cache"] == "JOINED"
            go.set()
            assert b"".join(theirs) == b"".join(pieces)
    assert len(upstream.requests) == 1


def test_who_does_not_read_holds_nobody_up(sluice: Sluice, upstream: Upstream, key: str, threads: ThreadPoolExecutor):
    frame = b"data: %s\n\n" % json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 200}}]}).encode()
    middle = threading.Event()
    frames = chat_frames(usage=usage_of(3, 4))
    many = [Chunk(frame * 100) for _ in range(40)]
    upstream.script = [stream_head(), Chunk(frames[0]), WaitFor(middle), *many, *map(Chunk, frames[1:]), EndChunks()]
    asked = {**CHAT, **STREAM, **question()}
    with connect(sluice, receive_buffer=4096) as stuck:
        stuck.sendall(request_bytes(sluice, asked, authorization=f"Bearer {key}"))
        assert stuck.recv(100).startswith(b"HTTP/1.1 200")
        other = threads.submit(ask, sluice, key, **asked)
        soon(lambda: under_way(sluice) == 2)
        middle.set()
        answer = other.result(60)
        assert answer.headers["x-cache"] == "JOINED"
        assert answer.content.endswith(b"data: [DONE]\n\n")
        assert len(answer.content) > 800_000


# --- who does not share ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"headers": {"cache-control": "no-cache"}},
        {"headers": {"cache-control": "no-store"}},
        {"headers": {"x-cache-skip": "1"}},
        {"temperature": 0.5},
        {"stream": True},
    ],
    ids=["no-cache", "no-store", "skip", "another-question", "another-form"],
)
def test_who_asks_otherwise_asks_alone(
    sluice: Sluice,
    upstream: Upstream,
    key: str,
    go: threading.Event,
    threads: ThreadPoolExecutor,
    other: dict[str, Any],
):
    upstream.answers([WaitFor(go), *chat_answer()])
    asked = question()
    asking = all_ask(sluice, upstream, threads, key, 1, **asked)
    answer = ask(sluice, key, **{**asked, **other})
    assert answer.status_code == 200
    assert len(upstream.requests) == 2
    go.set()
    answers_of(asking)


def test_nobody_joins_a_call_of_another_project(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.answers([WaitFor(go), *chat_answer("theirs")])
    asked = question()
    asking = all_ask(sluice, upstream, threads, key, 1, **asked)
    upstream.answers(chat_answer("ours"))
    answer = ask(sluice, key_of_project(sluice), **asked)
    assert (answer.headers["x-cache"], b"ours" in answer.content) == ("MISS", True)
    go.set()
    answers_of(asking)


def test_two_keys_of_a_project_share(
    sluice: Sluice, upstream: Upstream, go: threading.Event, threads: ThreadPoolExecutor
):
    project = new_project(sluice, cache_policy="on")
    key, other = (minted(sluice, project=project)[1] for _ in range(2))
    upstream.script = [WaitFor(go), *chat_answer()]
    asked = question()
    asking = all_ask(sluice, upstream, threads, key, 1, **asked)
    asking.append(threads.submit(ask, sluice, other, **asked))
    soon(lambda: under_way(sluice) == 2)
    go.set()
    assert caches(answers_of(asking)) == {"MISS": 1, "JOINED": 1}
    assert len(upstream.requests) == 1


# --- failures ----------------------------------------------------------------------------------------------

BROKEN: dict[str, Script] = {
    "500": error_answer(500),
    "429": error_answer(429),
    "closed": [Send(b"HTTP/1.1 2"), Close()],
    "reset": [Send(b"HTTP/1.1 2"), Reset()],
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_call_that_fails_is_followed_by_one_more(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor, how: str
):
    upstream.answers([WaitFor(go), *BROKEN[how]])
    asking = all_ask(sluice, upstream, threads, key, 20, **question())
    upstream.answers(chat_answer())
    go.set()
    first, *others = answers_of(asking)
    assert first.status_code >= 400
    assert {answer.status_code for answer in others} == {200}
    assert caches(others) == {"MISS": 1, "JOINED": 18}
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("how", BROKEN)
def test_after_two_that_failed_all_get_the_error(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor, how: str
):
    upstream.script = [WaitFor(go), *BROKEN[how]]
    asking = all_ask(sluice, upstream, threads, key, 20, **question())
    go.set()
    answers = answers_of(asking)
    assert {answer.status_code for answer in answers} == {{"500": 500, "429": 429}.get(how, 502)}
    assert len({answer.json()["error"]["code"] for answer in answers}) == 1
    assert len(upstream.requests) == 2
    assert is_idle(sluice)
    upstream.script = chat_answer()
    assert ask(sluice, key, **question()).status_code == 200


def test_an_error_of_the_question_itself_is_the_answer_for_all(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.script = [WaitFor(go), *error_answer(400, f"bad, {UPSTREAM_KEY}", code="no")]
    asking = all_ask(sluice, upstream, threads, key, 5, **question())
    go.set()
    answers = answers_of(asking)
    assert {answer.status_code for answer in answers} == {400}
    assert len({answer.content for answer in answers}) == 1
    assert UPSTREAM_KEY not in answers[-1].text
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "script, body",
    [
        ([stream_head(), *map(Chunk, chat_frames()[:2]), Reset()], STREAM),
        ([Head(200, {"content-type": "application/json", "content-length": "100"}), Send(b'{"id": "x"'), Close()], {}),
    ],
    ids=["stream", "plain"],
)
def test_an_answer_that_breaks_off_is_whole_for_nobody(
    sluice: Sluice,
    upstream: Upstream,
    key: str,
    go: threading.Event,
    threads: ThreadPoolExecutor,
    script: Script,
    body: dict[str, Any],
):
    upstream.script = [WaitFor(go), *script]
    asked = {**body, **question()}
    asking = all_ask(sluice, upstream, threads, key, 5, **asked)
    go.set()
    for answer in answers_of(asking):
        assert answer.status_code == 502 or (
            b"upstream_disconnected" in answer.content and b"[DONE]" not in answer.content
        )
    assert len(upstream.requests) == 1
    upstream.script = chat_stream() if body else chat_answer()
    assert ask(sluice, key, **asked).headers["x-cache"] == "MISS"


# --- clients that leave ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", BEFORE_THE_HEAD)
def test_the_client_that_asked_first_leaves_and_the_others_get_all(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor, when: str
):
    body, script = BEFORE_THE_HEAD[when]
    upstream.script = script(go)
    asked = {**body, **question()}
    call = f"leader-{next(serial)}"
    with leader_of(sluice, key, asked, call) as peer:
        (received,) = upstream.wait_for(1)
        asking = [threads.submit(ask, sluice, key, **asked) for _ in range(3)]
        soon(lambda: under_way(sluice) == 4)
    assert not received.closed_by_peer.wait(0.5)
    go.set()
    answers = answers_of(asking)
    assert caches(answers) == {"JOINED": 3}
    assert len({answer.content for answer in answers}) == 1
    assert len(upstream.requests) == 1
    assert is_idle(sluice)
    row = row_of(sluice, call)
    assert (row["outcome"], row["error"]) == ("client_closed", "client_closed")
    assert int(row["cost_picousd"]) == 2000 * 10**6  # who made the call pays for all of it
    assert ask(sluice, key, **asked).headers["x-cache"] == "HIT"
    assert peer.fileno() == -1


def test_the_provider_is_let_go_when_all_have_left(sluice: Sluice, upstream: Upstream, key: str):
    never = threading.Event()
    upstream.script = [stream_head(), Chunk(chat_frames()[0]), WaitFor(never)]
    asked = {**STREAM, **question()}
    leader, follower = leader_of(sluice, key, asked), None
    try:
        (received,) = upstream.wait_for(1)
        follower = leader_of(sluice, key, asked)
        soon(lambda: under_way(sluice) == 2)
        leader.close()
        assert not received.closed_by_peer.wait(0.5)
    finally:
        leader.close()
        if follower is not None:
            follower.close()
    assert received.closed_by_peer.wait(5)
    assert is_idle(sluice)
    assert len(upstream.requests) == 1


def test_a_follower_that_leaves_harms_nobody(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.script = [WaitFor(go), *chat_answer()]
    asked = question()
    asking = all_ask(sluice, upstream, threads, key, 2, **asked)
    with leader_of(sluice, key, asked):
        soon(lambda: under_way(sluice) == 3)
    soon(lambda: under_way(sluice) == 2)
    go.set()
    assert caches(answers_of(asking)) == {"MISS": 1, "JOINED": 1}


def test_the_sdk_reads_a_shared_stream_as_it_reads_its_own(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.script = [WaitFor(go), *chat_stream(usage=usage_of(3, 4))]
    asked = {**WITH_USAGE, **question()}
    client = sluice.openai(key)

    def read() -> list[dict[str, Any]]:
        return [chunk.model_dump() for chunk in client.chat.completions.create(**asked)]

    reading = [threads.submit(read) for _ in range(3)]
    soon(lambda: under_way(sluice) == 3)
    go.set()
    first, *others = [each.result(60) for each in reading]
    assert others == [first, first]
    assert first[-1]["usage"]["completion_tokens"] == 4
    assert len(upstream.requests) == 1
