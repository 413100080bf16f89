"""X60: what a provider sends to show that it lives leaves as it comes: an early head, white space, comments.

What fails within a second of a head that came alone is still an error with a status: P20 has those.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from tests.kit.clients import client_of, named, new_id
from tests.kit.ledger import row_of
from tests.kit.providers import add_provider
from tests.kit.requests import CHAT, RESPONSES, STREAM, WITH_USAGE
from tests.kit.sluice import Sluice
from tests.kit.streams import halting, pieces_until
from tests.kit.upstream import (
    NEVER,
    Action,
    Chunk,
    Close,
    EndChunks,
    Head,
    Upstream,
    WaitFor,
    body_answer,
    chat_frames,
    responses_stream,
    stream_head,
    usage_of,
)

pytestmark = pytest.mark.server(TTFT_TIMEOUT_SECS=3, REQUEST_TIMEOUT_SECS=20)

JSON_HEAD = Head(200, {"content-type": "application/json", "transfer-encoding": "chunked"})
ANSWER: dict[str, Any] = {
    "id": "x",
    "model": "own-name",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": usage_of(11, 5),
}
WHOLE = json.dumps(ANSWER).encode()
PATHS: dict[str, tuple[str, dict[str, Any], list[bytes]]] = {
    "chat": ("/v1/chat/completions", WITH_USAGE, chat_frames()),
    "responses": (
        "/v1/responses",
        {**RESPONSES, "stream": True},
        [action.data for action in responses_stream() if isinstance(action, Chunk)],
    ),
    "sound": ("/v1/audio/speech", {"model": "tts-1"}, [b"data: {}\n\n"]),
    "passed through": ("/v1/thoughts", {"model": "m"}, [b"data: {}\n\n"]),
}


@pytest.mark.parametrize("how", PATHS)
def test_the_head_of_a_stream_leaves_before_its_first_frame(sluice: Sluice, upstream: Upstream, how: str):
    path, body, frames = PATHS[how]
    gate, call = threading.Event(), new_id()
    upstream.answers([stream_head(), WaitFor(gate), *map(Chunk, frames), EndChunks()])
    with client_of(sluice).stream("POST", path, json=body, headers=named(call)) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        gate.set()
        assert b"".join(answer.iter_raw()) == b"".join(frames)
    assert row_of(sluice, call)["outcome"] == "complete"


@pytest.mark.parametrize(
    "path, body", [("/v1/chat/completions", STREAM), ("/v1/responses", {**RESPONSES, "stream": True})]
)
@pytest.mark.parametrize("fault", [NEVER, Close()], ids=["silence", "close"])
def test_what_fails_behind_an_early_head_is_told_in_the_stream(
    sluice: Sluice, upstream: Upstream, path: str, body: dict[str, Any], fault: Action
):
    seen, call = threading.Event(), new_id()
    upstream.answers([stream_head(), WaitFor(seen), fault])
    with client_of(sluice).stream("POST", path, json=body, headers=named(call)) as answer:
        assert answer.status_code == 200
        seen.set()
        told = b"".join(answer.iter_raw())
    code = "ttft_timeout" if fault is NEVER else "upstream_disconnected"
    assert told.count(b"data: ") == 1
    assert f'"{code}"'.encode() in told
    assert b"[DONE]" not in told
    row = row_of(sluice, call)
    assert (row["outcome"], row["error"], row["status_code"]) == ("upstream_error", code, 200)
    assert row["cost_usd"] == 0


HEARTBEATS: dict[str, Sequence[bytes]] = {
    "comments": [b": still here\n", b": here\r\n", b":\n"],
    "blank lines": [b"\n", b"\n", b"\r\n"],
    "whole comments": [b": processing\n\n", b": processing\n\n"],
}


@pytest.mark.parametrize("how", HEARTBEATS)
def test_heartbeats_of_a_stream_leave_as_they_come(sluice: Sluice, upstream: Upstream, how: str):
    first, *frames = chat_frames()
    pieces = [*HEARTBEATS[how], first, *HEARTBEATS[how], *frames]
    script, gates = halting(pieces)
    call = new_id()
    upstream.answers(script)
    with client_of(sluice).stream("POST", "/v1/chat/completions", json=WITH_USAGE, headers=named(call)) as answer:
        got = answer.iter_raw()
        for piece, gate in zip(pieces, gates, strict=True):
            pieces_until(got, piece)
            gate.set()
        assert b"".join(got) == b""
    row = row_of(sluice, call)
    assert (row["outcome"], row["prompt_tokens"], row["completion_tokens"]) == ("complete", 9, 5)


@pytest.mark.parametrize("model", ["gpt-4.1-mini", "beating"])
def test_white_space_before_a_plain_answer_leaves_as_it_comes(sluice: Sluice, upstream: Upstream, model: str):
    if model == "beating":
        add_provider(sluice, upstream.url, model, {model: "own-name"})
    beats = [b" ", b"\r\n", b"   "]
    gates = [threading.Event() for _ in beats]
    script: list[Action] = [JSON_HEAD]
    for beat, gate in zip(beats, gates, strict=True):
        script += [Chunk(beat), WaitFor(gate)]
    upstream.answers([*script, Chunk(WHOLE[:20]), Chunk(WHOLE[20:]), EndChunks()])
    call = new_id()
    body = {**CHAT, "model": model}
    with client_of(sluice).stream("POST", "/v1/chat/completions", json=body, headers=named(call)) as answer:
        assert answer.status_code == 200
        got = answer.iter_raw()
        for beat, gate in zip(beats, gates, strict=True):
            pieces_until(got, beat)
            gate.set()
        rest = b"".join(got)
    assert json.loads(rest) == (ANSWER if model != "beating" else {**ANSWER, "model": model})
    row = row_of(sluice, call)
    assert (row["outcome"], row["prompt_tokens"], row["completion_tokens"]) == ("complete", 11, 5)


def test_white_space_and_an_answer_at_once_are_one_piece(sluice: Sluice, upstream: Upstream):
    upstream.answers(body_answer(b"\n\n" + WHOLE, content_type="application/json"))
    answer = client_of(sluice).post("/v1/chat/completions", json=CHAT)
    assert answer.headers["content-length"] == str(len(WHOLE) + 2)
    assert answer.content == b"\n\n" + WHOLE
    upstream.answers([JSON_HEAD, Chunk(b"\n\n"), Chunk(WHOLE), EndChunks()])
    answer = client_of(sluice).post("/v1/chat/completions", json=CHAT)
    assert answer.content == b"\n\n" + WHOLE


@pytest.mark.parametrize("half", [b"", WHOLE[:30]], ids=["nothing", "half"])
def test_an_answer_that_is_cut_behind_its_white_space_breaks_off(sluice: Sluice, upstream: Upstream, half: bytes):
    seen, call = threading.Event(), new_id()
    upstream.answers([JSON_HEAD, Chunk(b" "), WaitFor(seen), *([Chunk(half)] if half else []), Close()])
    with client_of(sluice).stream("POST", "/v1/chat/completions", json=CHAT, headers=named(call)) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b" "
        seen.set()
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    row = row_of(sluice, call)
    assert (row["outcome"], row["error"]) == ("upstream_error", "upstream_disconnected")


def test_what_fails_at_once_behind_white_space_is_an_error_with_a_status(sluice: Sluice, upstream: Upstream):
    upstream.answers([JSON_HEAD, Chunk(b" "), Close()], [JSON_HEAD, Chunk(b" "), EndChunks()])
    codes = []
    for _ in range(2):
        answer = client_of(sluice).post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == 502
        codes.append(answer.json()["error"]["code"])
    assert codes == ["upstream_disconnected", "upstream_invalid_response"]


def test_the_head_of_a_simulated_stream_leaves_early_too(sluice: Sluice):
    made = sluice.api("POST", "/api/providers/", json={"name": "sim", "kind": "simulator", "models": ["simulator"]})
    assert made.status_code == 201, made.text
    call = new_id()
    body = {**STREAM, "model": "simulator", "simulate": {"first_token_ms": 60_000}}
    with client_of(sluice).stream("POST", "/v1/chat/completions", json=body, headers=named(call)) as answer:
        assert answer.status_code == 200
        assert b'"ttft_timeout"' in b"".join(answer.iter_raw())
