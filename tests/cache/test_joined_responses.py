"""F87, P32 for the Responses API: who asks the same at the same time shares one call, and what it made."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.kit.caching import cache_of, id_in, key_of_project, make_response, prompt, respond
from tests.kit.ledger import shown_row_of
from tests.kit.management import minted, new_project
from tests.kit.requests import refused
from tests.kit.sluice import Sluice
from tests.kit.streams import events_of
from tests.kit.upstream import (
    Chunk,
    Close,
    EndChunks,
    Received,
    Script,
    Upstream,
    WaitFor,
    error_answer,
    frame,
    response_frames,
    response_object,
    response_usage,
    responses_answer,
    responses_stream,
    sse,
    stream_head,
)
from tests.kit.vitals import is_idle
from tests.kit.waiting import soon
from tests.kit.wire import connect, request_bytes

pytestmark = [
    pytest.mark.server(OPENAI_KEYS="second=sk-second-canary", prices={"gpt-4.1-mini": {"input": "1", "output": "2"}}),
    pytest.mark.key(project={"cache_policy": "on"}),
]

STREAM = {"stream": True}
FORMS = pytest.mark.parametrize("form", [{}, STREAM], ids=["plain", "stream"])
Asking = Future[httpx.Response]


@pytest.fixture
def go() -> threading.Event:
    return threading.Event()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


def under_way(sluice: Sluice) -> int:
    return int(sluice.metrics()["llm_proxy_active_requests"])


def all_ask(
    sluice: Sluice, upstream: Upstream, threads: ThreadPoolExecutor, keys: list[str], **asked: Any
) -> list[Asking]:
    """Each of these keys asks at once. Returns when the provider has the request of the first and the others wait."""
    before = len(upstream.requests), under_way(sluice)
    first = threads.submit(respond, sluice, keys[0], **asked)
    upstream.wait_for(before[0] + 1)
    others = [threads.submit(respond, sluice, key, **asked) for key in keys[1:]]
    soon(lambda: under_way(sluice) == before[1] + len(keys))
    return [first, *others]


def answers_of(asking: list[Asking]) -> list[httpx.Response]:
    return [each.result(60) for each in asking]


def caches(answers: list[httpx.Response]) -> Counter[str]:
    return Counter(answer.headers["x-cache"] for answer in answers)


@FORMS
def test_many_at_once_make_one_call(
    sluice: Sluice,
    upstream: Upstream,
    key: str,
    go: threading.Event,
    threads: ThreadPoolExecutor,
    form: dict[str, Any],
):
    usage = response_usage(1000, 500)
    upstream.script = [WaitFor(go), *(responses_stream(usage=usage) if form else responses_answer(usage=usage))]
    asked = {**prompt(), **form}
    asking = all_ask(sluice, upstream, threads, [key] * 30, **asked)
    go.set()
    answers = answers_of(asking)
    assert len({answer.content for answer in answers}) == len(upstream.requests) == 1
    assert caches(answers) == {"MISS": 1, "JOINED": 29}
    assert cache_of(respond(sluice, key, **asked)) == "HIT"
    first, *others = [shown_row_of(sluice, answer) for answer in answers[:4]]
    assert (first["prompt_tokens"], first["cost_usd"]) == (1000, "0.002000000000")
    assert {(row["cache"], row["prompt_tokens"], row["cost_usd"], row["outcome"]) for row in others} == {
        ("JOINED", None, "0.000000000000", "complete")
    }


@FORMS
def test_who_joined_goes_on_where_the_response_was_made(
    sluice: Sluice, upstream: Upstream, go: threading.Event, threads: ThreadPoolExecutor, form: dict[str, Any]
):
    project = new_project(sluice, cache_policy="on")
    _, maker = minted(sluice, project=project, upstream_alias="second")
    _, follower = minted(sluice, project=project)
    upstream.answers(lambda received: [WaitFor(go), *make_response(received)])
    asking = all_ask(sluice, upstream, threads, [maker, follower], **prompt(), **form)
    go.set()
    first, second = answers_of(asking)
    assert (id_in(first), caches([first, second])) == (id_in(second), {"MISS": 1, "JOINED": 1})
    assert {shown_row_of(sluice, answer)["credential"] for answer in (first, second)} == {"second"}
    upstream.script = make_response
    for key in (follower, maker):
        assert respond(sluice, key, previous_response_id=id_in(second), **prompt()).status_code == 200
        assert upstream.last.header("authorization") == "Bearer sk-second-canary"


def test_who_joined_a_call_of_another_project_does_not_own_the_response(
    sluice: Sluice, upstream: Upstream, go: threading.Event, threads: ThreadPoolExecutor
):
    keys = [key_of_project(sluice, cache_scope="shared") for _ in range(2)]
    upstream.answers(lambda received: [WaitFor(go), *make_response(received)])
    asking = all_ask(sluice, upstream, threads, keys, store=False, **prompt())
    go.set()
    answers = answers_of(asking)
    assert caches(answers) == {"MISS": 1, "JOINED": 1}
    upstream.script = make_response
    assert respond(sluice, keys[0], f"/{id_in(answers[0])}", method="GET").status_code == 200
    refused(respond(sluice, keys[1], f"/{id_in(answers[0])}", method="GET"), 404, "response_not_found")


@pytest.mark.parametrize(
    "other",
    [
        {"stream": True},
        {"store": True},
        {"store": False},
        {"background": True},
        {"temperature": 0.5},
        {"headers": {"x-cache-skip": "1"}},
        {"headers": {"cache-control": "no-cache"}},
    ],
    ids=["another form", "store", "no store", "background", "another question", "skip", "no-cache"],
)
def test_who_asks_otherwise_asks_alone(
    sluice: Sluice,
    upstream: Upstream,
    key: str,
    go: threading.Event,
    threads: ThreadPoolExecutor,
    other: dict[str, Any],
):
    upstream.answers([WaitFor(go), *responses_answer()])
    asked = prompt()
    asking = all_ask(sluice, upstream, threads, [key], **asked)
    assert respond(sluice, key, **{**asked, **other}).status_code == 200
    assert len(upstream.requests) == 2
    go.set()
    answers_of(asking)


def test_two_that_go_on_with_one_response_are_answered_apart(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.script = make_response
    before = id_in(respond(sluice, key, **prompt()))
    asked = {**prompt(), "previous_response_id": before}
    upstream.script = lambda received: [WaitFor(go), *make_response(received)]
    asking = [threads.submit(respond, sluice, key, **asked) for _ in range(2)]
    upstream.wait_for(3)
    go.set()
    answers = answers_of(asking)
    assert caches(answers) == {"BYPASS": 2}
    assert id_in(answers[0]) != id_in(answers[1])


def test_who_joins_late_gets_a_stream_from_its_first_event(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event
):
    first_frame, *frames = response_frames()
    upstream.script = [stream_head(), Chunk(first_frame), WaitFor(go), *map(Chunk, frames), EndChunks()]
    asked = {"model": "gpt-4.1-mini", **STREAM, **prompt()}
    with sluice.client(key).stream("POST", "/v1/responses", json=asked) as leader:
        pieces = leader.iter_bytes()
        begun = next(pieces)
        with sluice.client(key).stream("POST", "/v1/responses", json=asked) as follower:
            theirs = follower.iter_bytes()
            assert next(theirs) == begun  # before the provider goes on
            assert follower.headers["x-cache"] == "JOINED"
            go.set()
            rest = b"".join(theirs)
            assert rest == b"".join(pieces)
    numbers = [event["sequence_number"] for event in events_of(begun + rest)]
    assert numbers == list(range(len(frames) + 1))
    assert len(upstream.requests) == 1


def failed(received: Received) -> Script:
    response = {**response_object("", status="failed"), "error": {"code": "server_error", "message": "no"}}
    event = frame({"type": "response.failed", "response": response, "sequence_number": 2}, "response.failed")
    return sse([*response_frames()[:2], event])


ENDS: dict[str, tuple[Any, bytes]] = {
    "cut": ([stream_head(), *map(Chunk, response_frames()[:6]), Close()], b"upstream_disconnected"),
    "ends early": (sse(response_frames()[:-1]), b"upstream_incomplete"),
    "fails": (failed, b"response.failed"),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_stream_that_is_not_whole_is_whole_for_nobody_and_not_stored(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor, how: str
):
    end, word = ENDS[how]
    upstream.answers(lambda received: [WaitFor(go), *(end(received) if callable(end) else end)])
    asked = {**prompt(), **STREAM}
    asking = all_ask(sluice, upstream, threads, [key] * 4, **asked)
    go.set()
    answers = answers_of(asking)
    assert all(word in answer.content and b"response.completed" not in answer.content for answer in answers)
    assert len(upstream.requests) == 1
    upstream.script = responses_stream()
    assert cache_of(respond(sluice, key, **asked)) == "MISS"


def test_a_call_that_fails_is_followed_by_one_more(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.answers([WaitFor(go), *error_answer(500)])
    asking = all_ask(sluice, upstream, threads, [key] * 10, **prompt())
    upstream.answers(responses_answer())
    go.set()
    first, *others = answers_of(asking)
    assert first.status_code == 500
    assert caches(others) == {"MISS": 1, "JOINED": 8}
    assert len(upstream.requests) == 2


@FORMS
def test_the_client_that_asked_first_leaves_and_the_others_get_all(
    sluice: Sluice,
    upstream: Upstream,
    key: str,
    go: threading.Event,
    threads: ThreadPoolExecutor,
    form: dict[str, Any],
):
    """What they got is theirs: they made it, as the request that left did."""
    upstream.answers(lambda received: [WaitFor(go), *make_response(received)])
    asked = {**prompt(), **form}
    body = {"model": "gpt-4.1-mini", **asked}
    with connect(sluice) as peer:
        peer.sendall(request_bytes(sluice, body, path="/v1/responses", authorization=f"Bearer {key}"))
        (received,) = upstream.wait_for(1)
        asking = [threads.submit(respond, sluice, key, **asked) for _ in range(3)]
        soon(lambda: under_way(sluice) == 4)
    assert not received.closed_by_peer.wait(0.5)
    go.set()
    answers = answers_of(asking)
    assert caches(answers) == {"JOINED": 3}
    assert len({answer.content for answer in answers}) == len(upstream.requests) == 1
    assert is_idle(sluice)
    upstream.script = make_response
    assert cache_of(respond(sluice, key, **asked)) == "HIT"
    assert respond(sluice, key, f"/{id_in(answers[0])}", method="GET").status_code == 200


def test_the_sdk_reads_a_shared_stream_as_its_own(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.script = [WaitFor(go), *responses_stream()]
    client, asked = sluice.openai(key), prompt()

    def read() -> list[dict[str, Any]]:
        events = client.responses.create(model="gpt-4.1-mini", stream=True, **asked)
        return [event.model_dump() for event in events]

    reading = [threads.submit(read) for _ in range(3)]
    soon(lambda: under_way(sluice) == 3)
    go.set()
    first, *others = [each.result(60) for each in reading]
    assert others == [first, first]
    assert first[-1]["response"]["usage"]["output_tokens"] == 5
    assert len(upstream.requests) == 1
