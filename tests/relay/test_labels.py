"""X52: what was asked for and the first bytes say whether an answer is a stream, not its label."""

from __future__ import annotations

import json

import pytest

from tests.kit.clients import client_of, named, new_id
from tests.kit.ledger import row_of
from tests.kit.requests import CHAT, RESPONSES, STREAM
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Chunk,
    EndChunks,
    Head,
    Script,
    Send,
    Upstream,
    body_answer,
    chat_answer,
    chat_frames,
    responses_answer,
    responses_stream,
    stream_head,
)

LABELS = ["application/json", "text/plain; charset=utf-8", "application/octet-stream", None]


def labelled(label: str | None, *pieces: bytes) -> Script:
    named = {"content-type": label} if label else {}
    return [Head(200, {**named, "transfer-encoding": "chunked"}), *map(Chunk, pieces), EndChunks()]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_a_stream_under_another_label_is_a_stream(sluice: Sluice, upstream: Upstream, label: str | None, path: str):
    chunks = [action.data for action in responses_stream() if isinstance(action, Chunk)]
    frames = chat_frames() if path.endswith("completions") else chunks
    upstream.answers(labelled(label, *frames))
    call = new_id()
    answer = client_of(sluice).post(path, json={**STREAM, **RESPONSES}, headers=named(call))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert b"Hel" in answer.content
    row = row_of(sluice, call)
    assert (row["outcome"], row["completion_tokens"], row["stream"]) == ("complete", 5, True)


@pytest.mark.parametrize("label", ["application/json", None])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n\n", b": hold on\n\n", b"event: x\n", b"id:7\n"])
def test_it_is_seen_however_it_comes_in_pieces(
    sluice: Sluice, upstream: Upstream, label: str | None, size: int, before: bytes
):
    whole = before + b"".join(chat_frames())
    upstream.answers(labelled(label, *(whole[at : at + size] for at in range(0, len(whole), size))))
    answer = client_of(sluice).post("/v1/chat/completions", json={**STREAM, "stream_options": {"include_usage": True}})
    assert (answer.status_code, answer.content) == (200, whole)


@pytest.mark.parametrize("label", [*LABELS, "text/event-stream"])
def test_an_object_for_who_asked_for_a_stream_is_an_object(sluice: Sluice, upstream: Upstream, label: str | None):
    """Whatever its label: some servers ignore `stream`."""
    whole = json.dumps({"id": "x", "choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}).encode()
    upstream.answers(labelled(label, b" \n", whole[:1], whole[1:]))
    call = new_id()
    answer = client_of(sluice).post("/v1/chat/completions", json=STREAM, headers=named(call))
    assert (answer.status_code, json.loads(answer.content)["id"]) == (200, "x")
    if label in (None, "text/event-stream"):
        assert answer.headers.get("content-type", "application/json") == "application/json"
    row = row_of(sluice, call)
    assert (row["outcome"], row["prompt_tokens"], row["completion_tokens"]) == ("complete", 4, 2)


def test_an_object_labelled_as_a_stream_is_one_for_who_asked_for_it(sluice: Sluice, upstream: Upstream):
    _, sent = chat_answer("hello")
    assert isinstance(sent, Send)
    upstream.answers([stream_head(), Chunk(sent.data), EndChunks()])
    answer = client_of(sluice).post("/v1/chat/completions", json=CHAT)
    assert answer.json()["choices"][0]["message"]["content"] == "hello"
    assert answer.headers["content-type"] == "application/json"


def test_a_stored_response_that_is_asked_for_as_a_stream(sluice: Sluice, upstream: Upstream):
    upstream.answers(responses_answer())
    made = client_of(sluice).post("/v1/responses", json=RESPONSES).json()["id"]
    frames = [action.data for action in responses_stream() if isinstance(action, Chunk)]
    upstream.answers(labelled("application/json", *frames))
    answer = client_of(sluice).get(f"/v1/responses/{made}?stream=true")
    assert (answer.status_code, answer.content) == (200, b"".join(frames))


@pytest.mark.parametrize("body", [b"", b"da", b" \n", b"<html>", b"internal error", b"[1]", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("label", ["application/json", "text/html", None])
def test_what_is_neither_is_still_a_502(sluice: Sluice, upstream: Upstream, label: str | None, body: bytes):
    upstream.answers(body_answer(body, content_type=label or "x"))
    answer = client_of(sluice).post("/v1/chat/completions", json=STREAM)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_invalid_response")
