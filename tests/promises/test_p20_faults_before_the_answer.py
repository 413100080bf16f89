"""P20: what fails before the client has a byte is a plain error with a status, never half an answer.

A head that comes alone is held for a second; what fails behind it later is told in mid-stream (`test_heartbeats.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import httpx
import pytest

from tests.kit.clients import client_of, named, new_id
from tests.kit.ledger import row_of
from tests.kit.requests import CHAT, RESPONSES, STREAM
from tests.kit.services import processes
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import (
    NEVER,
    Action,
    Chunk,
    Close,
    EndChunks,
    Head,
    Reset,
    Send,
    Upstream,
    body_answer,
    chat_answer,
    stream_head,
)

pytestmark = pytest.mark.server(TTFT_TIMEOUT_SECS=2, REQUEST_TIMEOUT_SECS=3)

JSON_HEAD = Head(200, {"content-type": "application/json", "content-length": "1000"})
JSON_CHUNKED = Head(200, {"content-type": "application/json", "transfer-encoding": "chunked"})
HALF = b'{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assist'

NO_ANSWER: dict[str, tuple[Sequence[Action], int, str]] = {
    "reset": ([Reset()], 502, "upstream_disconnected"),
    "closed": ([Close()], 502, "upstream_disconnected"),
    "closed within the head": ([Send(b"HTTP/1.1 200 OK\r\ncontent-ty"), Close()], 502, "upstream_disconnected"),
    "no HTTP": ([Send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")], 502, "upstream_malformed"),
    "a head without end": ([Send(b"HTTP/1.1 200 OK\r\n"), Send(b"x: y\r\n" * 60_000)], 502, "upstream_malformed"),
    "no head": ([NEVER], 504, "ttft_timeout"),
}
STREAMS: dict[str, tuple[Sequence[Action], int, str]] = {
    **NO_ANSWER,
    "a head and a reset": ([stream_head(), Reset()], 502, "upstream_disconnected"),
    "a head and a close": ([stream_head(), Close()], 502, "upstream_disconnected"),
    "a malformed first frame": ([stream_head(), Chunk(b"data: {]\n\n"), NEVER], 502, "upstream_malformed"),
    "half a first frame": ([stream_head(), Chunk(b'data: {"choi'), Close()], 502, "upstream_disconnected"),
}
PLAIN: dict[str, tuple[Sequence[Action], int, str]] = {
    **NO_ANSWER,
    "cut by its length": ([JSON_HEAD, Send(HALF), Close()], 502, "upstream_disconnected"),
    "cut by a reset": ([JSON_HEAD, Send(HALF), Reset()], 502, "upstream_disconnected"),
    "cut in its chunks": ([JSON_CHUNKED, Chunk(HALF), Close()], 502, "upstream_disconnected"),
    "an invalid chunk": ([JSON_CHUNKED, Chunk(HALF), Send(b"zz\r\n")], 502, "upstream_malformed"),
    "half a JSON, well framed": ([JSON_CHUNKED, Chunk(HALF), EndChunks()], 502, "upstream_invalid_response"),
    "half a JSON without a length": ([Head(200), Send(HALF), Close()], 502, "upstream_invalid_response"),
    "no JSON": (body_answer(b"<html>", content_type="text/html"), 502, "upstream_invalid_response"),
    "nothing": (body_answer(b"", content_type="application/json"), 502, "upstream_invalid_response"),
    "a list": (body_answer(b"[]", content_type="application/json"), 502, "upstream_invalid_response"),
    "stalled in its body": ([JSON_HEAD, Send(HALF), NEVER], 504, "upstream_timeout"),
}


def check(sluice: Sluice, path: str, body: dict, status: int, code: str) -> None:
    call = new_id()
    answer = client_of(sluice).post(path, json=body, headers=named(call))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert "127.0.0.1" not in answer.text
    assert "chatcmpl-1" not in answer.text
    row = row_of(sluice, call)
    assert (row["outcome"], row["error"], row["status_code"]) == ("upstream_error", code, status)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_never_begins_is_an_error_with_a_status(sluice: Sluice, upstream: Upstream, name: str):
    script, status, code = STREAMS[name]
    upstream.answers(script)
    check(sluice, "/v1/chat/completions", STREAM, status, code)


@pytest.mark.parametrize("name", ["reset", "a head and a reset", "a malformed first frame"])
def test_a_responses_stream_that_never_begins_too(sluice: Sluice, upstream: Upstream, name: str):
    script, status, code = STREAMS[name]
    upstream.answers(script)
    check(sluice, "/v1/responses", {**RESPONSES, "stream": True}, status, code)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_answer_comes_whole_or_not_at_all(sluice: Sluice, upstream: Upstream, name: str):
    script, status, code = PLAIN[name]
    upstream.answers(script)
    check(sluice, "/v1/chat/completions", CHAT, status, code)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_a_stream_of_nothing_is_no_complete_answer(sluice: Sluice, upstream: Upstream, path: str):
    upstream.answers([stream_head(), EndChunks()])
    call = new_id()
    answer = client_of(sluice).post(path, json={**CHAT, **RESPONSES, "stream": True}, headers=named(call))
    assert row_of(sluice, call)["outcome"] == "upstream_error"
    assert answer.status_code == 502


def test_a_stream_of_comments_alone_is_no_complete_answer(sluice: Sluice, upstream: Upstream):
    upstream.answers([stream_head(), Chunk(b": processing\n\n"), EndChunks()])
    call = new_id()
    answer = client_of(sluice).post("/v1/chat/completions", json=STREAM, headers=named(call))
    assert row_of(sluice, call)["outcome"] == "upstream_error"
    assert b'"error"' in answer.content


@pytest.mark.parametrize("path", ["/v1/thoughts/f/content", "/v1/moderations"])
def test_a_cut_answer_that_is_passed_through_breaks_off(sluice: Sluice, upstream: Upstream, path: str):
    """There is no dialect to tell it in; a proper end would be a lie."""
    upstream.answers([JSON_HEAD, Send(b"half"), Close()], [JSON_CHUNKED, Chunk(b"half"), Close()])
    for _ in range(2):
        call = new_id()
        with pytest.raises(httpx.RemoteProtocolError):
            client_of(sluice).post(path, json={}, headers=named(call))
        row = row_of(sluice, call)
        assert (row["outcome"], row["error"]) == ("upstream_error", "upstream_disconnected")


def test_after_all_of_it_the_next_request_is_served(sluice: Sluice, upstream: Upstream):
    faults = [script for script, _, code in [*STREAMS.values(), *PLAIN.values()] if "timeout" not in code]
    for script in faults:
        upstream.answers(script, chat_answer())
        client_of(sluice).post("/v1/chat/completions", json=CHAT)
        assert client_of(sluice).post("/v1/chat/completions", json=CHAT).status_code == 200


def test_a_provider_that_cannot_be_reached_is_a_502(start_sluice: StartSluice):
    sluice = start_sluice(upstream_url=f"http://127.0.0.1:{processes.free_port()}/v1")
    answer = client_of(sluice).post("/v1/chat/completions", json=STREAM)
    assert answer.status_code == 502
    assert json.loads(answer.content)["error"]["code"] == "upstream_unreachable"
