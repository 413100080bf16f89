"""F53: the provider is asked in its own words, and the client reads its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.clients import client_of, named, new_id
from tests.kit.ledger import row_of
from tests.kit.management import changed
from tests.kit.providers import add_provider
from tests.kit.requests import CHAT, RESPONSES, WITH_USAGE
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Chunk,
    EndChunks,
    Upstream,
    body_answer,
    chat_frames,
    completion_stream,
    frame,
    responses_stream,
    stream_head,
)

NAMES = {"fast": "up-fast-1", "team/*": "up-team", "same": ""}
PLACES = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"]


@pytest.fixture(scope="module")
def sluice(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    with Sluice.start(upstream_url=_upstream.url) as server:
        [first] = server.api("GET", "/api/providers/").json()["results"]
        changed(server, f"/api/providers/{first['id']}", priority=9)
        add_provider(server, _upstream.url, "mapped", NAMES)
        yield server


def ask(sluice: Sluice, path: str, body: dict[str, Any]) -> bytes:
    answer = client_of(sluice).post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("asked, served", [("fast", "up-fast-1"), ("team/x", "up-team"), ("same", "same")])
def test_each_side_has_its_own_name(sluice: Sluice, upstream: Upstream, path: str, asked: str, served: str):
    call = new_id()
    body = {**CHAT, **RESPONSES, "prompt": "x", "model": asked}
    answer = client_of(sluice).post(path, json=body, headers=named(call))
    assert upstream.last.json() == {**body, "model": served}
    assert answer.json()["model"] == asked
    row = row_of(sluice, call)
    assert (row["model"], row["model_served"], row["provider"]) == (asked, served, "mapped")


@pytest.mark.parametrize("path", PLACES)
def test_the_rest_of_a_plain_answer_is_as_it_was_written(sluice: Sluice, upstream: Upstream, path: str):
    written = (
        b'{"id":"x","n":[1.0, 1e5, 12345678901234567890123],"model":"%s","s":"\\u00e9\\/","x":{ "model":"up-fast-1"}}'
    )
    upstream.answers(body_answer(written % b"up-fast-1", content_type="application/json"))
    assert ask(sluice, path, {**CHAT, "model": "fast"}) == written % b"fast"


@pytest.mark.parametrize("shape", ["usage-only", "every"])
def test_every_chunk_has_the_clients_name(sluice: Sluice, upstream: Upstream, shape: Any):
    text = ["up-fast-1", '{"model":"up-fast-1"}', "é€😀"]
    frames = chat_frames(text, model="up-fast-1", usage_shape=shape)
    upstream.answers([stream_head(), *map(Chunk, frames), EndChunks()])
    got = ask(sluice, "/v1/chat/completions", {**WITH_USAGE, "model": "fast"})
    assert got == b"".join(
        each.replace(b'"model":"up-fast-1","choices"', b'"model":"fast","choices"') for each in frames
    )
    assert got.count(b'"model":"fast"') == len(frames) - 1


def test_every_chunk_of_a_legacy_stream_has_it_too(sluice: Sluice, upstream: Upstream):
    script = completion_stream(model="up-fast-1")
    upstream.answers(script)
    body = {"model": "fast", "prompt": "x", "stream": True, "stream_options": {"include_usage": True}}
    sent = b"".join(action.data for action in script if isinstance(action, Chunk))
    assert ask(sluice, "/v1/completions", body) == sent.replace(b"up-fast-1", b"fast")


def test_events_of_a_response_have_the_clients_name_where_they_name_one(sluice: Sluice, upstream: Upstream):
    script = responses_stream(["model: ", "gpt"], model="up-fast-1")
    upstream.answers(script)
    sent = b"".join(action.data for action in script if isinstance(action, Chunk))
    assert sent.count(b"up-fast-1") == 3
    got = ask(sluice, "/v1/responses", {**RESPONSES, "model": "fast", "stream": True})
    assert got == sent.replace(b"up-fast-1", b"fast")


def test_event_lines_and_comments_around_a_renamed_chunk_stay(sluice: Sluice, upstream: Upstream):
    head = b": hello\nid: 7\nevent: chunk\nretry: 5\n"
    first, *others = chat_frames(model="up-fast-1")
    upstream.answers([stream_head(), *map(Chunk, [head + first, b": alone\n\n", *others]), EndChunks()])
    got = ask(sluice, "/v1/chat/completions", {**WITH_USAGE, "model": "fast"})
    assert got == (head + first + b": alone\n\n" + b"".join(others)).replace(b"up-fast-1", b"fast")


@pytest.mark.parametrize("end", [b"\r", b"\r\n"], ids=["CR", "CRLF"])
def test_a_renamed_stream_keeps_its_line_ends(sluice: Sluice, upstream: Upstream, end: bytes):
    frames = [each.replace(b"\n", end) for each in chat_frames(model="up-fast-1")]
    upstream.answers([stream_head(), *map(Chunk, frames), EndChunks()])
    got = ask(sluice, "/v1/chat/completions", {**WITH_USAGE, "model": "fast"})
    assert got == b"".join(frames).replace(b"up-fast-1", b"fast")


def test_a_byte_order_mark_before_a_renamed_chunk_does_not_double_it(sluice: Sluice, upstream: Upstream):
    first, *others = chat_frames(model="up-fast-1")
    upstream.answers([stream_head(), Chunk(b"\xef\xbb\xbf" + first), *map(Chunk, others), EndChunks()])
    got = ask(sluice, "/v1/chat/completions", {**WITH_USAGE, "model": "fast"})
    assert b"up-fast-1" not in got
    assert got.count(b'"role":"assistant"') == 1


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [{"index": 0, "delta": {"content": [{"type": "text"}]}, "finish_reason": None}]},
        {"id": 7, "choices": []},
        {"choices": None},
        {"choices": [{"index": None, "delta": None, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": {"type": "stop"}}]},
    ],
    ids=["content in parts", "a number as id", "no choices", "no index", "an object as finish"],
)
def test_a_chunk_of_an_unusual_shape_is_renamed_too(sluice: Sluice, upstream: Upstream, chunk: dict):
    odd = frame({"model": "up-fast-1", **chunk})
    upstream.answers([stream_head(), *map(Chunk, [odd, *chat_frames(model="up-fast-1")]), EndChunks()])
    got = ask(sluice, "/v1/chat/completions", {**WITH_USAGE, "model": "fast"})
    assert b"up-fast-1" not in got


def test_values_in_the_request_keep_their_digits(sluice: Sluice, upstream: Upstream):
    body = b'{"model":"fast","n":[1.0, 1e5, 12345678901234567890123],"s":"\\u00e9\\/","x":{"model": "fast"}}'
    client_of(sluice).post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert upstream.last.body == body.replace(b'{"model":"fast"', b'{"model":"up-fast-1"')


def test_an_error_of_the_provider_is_relayed_in_its_own_words(sluice: Sluice, upstream: Upstream):
    error = {"error": {"message": "up-fast-1 is busy", "type": "x", "param": None, "code": "busy"}, "more": [1.0]}
    written = json.dumps(error).encode()
    upstream.answers(body_answer(written, 400, content_type="application/json"))
    answer = client_of(sluice).post("/v1/chat/completions", json={**CHAT, "model": "fast"})
    assert (answer.status_code, answer.content) == (400, written)
