"""X57, X51: what a provider sends goes on as it came, odd or not; only the usage that Sluice asked for is hidden."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.kit.clients import client_of, named, new_id
from tests.kit.ledger import row_of
from tests.kit.requests import CHAT, RESPONSES, STREAM, WITH_USAGE
from tests.kit.sluice import Sluice
from tests.kit.upstream import Chunk, EndChunks, Upstream, body_answer, chat_frames, frame, stream_head, usage_of
from tests.kit.upstream.answers import response_object
from tests.kit.vitals import memory_kib

USAGE = usage_of(11, 5)
SAID = {"choices": [{"index": 0, "delta": {"content": "four"}, "finish_reason": None}]}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
DONE = frame("[DONE]")
MIB = 1024 * 1024


def stream_and_row(
    sluice: Sluice, upstream: Upstream, pieces: Sequence[bytes], path: str = "/v1/chat/completions", body: Any = STREAM
) -> tuple[bytes, dict[str, Any]]:
    """What the client got of this stream, and the row."""
    upstream.answers([stream_head(), *map(Chunk, pieces), EndChunks()])
    call = new_id()
    answer = client_of(sluice).post(path, json=body, headers=named(call))
    assert answer.status_code == 200, answer.text
    return answer.content, row_of(sluice, call)


def answer_and_row(sluice: Sluice, upstream: Upstream, raw: bytes) -> tuple[bytes, dict[str, Any]]:
    """The same of a plain answer."""
    upstream.answers(body_answer(raw, content_type="application/json"))
    call = new_id()
    answer = client_of(sluice).post("/v1/chat/completions", json=CHAT, headers=named(call))
    assert answer.status_code == 200, answer.text
    return answer.content, row_of(sluice, call)


NEWS: dict[str, Any] = {
    "citations": ["https://a.example"],
    "timings": {"predicted_ms": 12.5},
    "error": {"message": "the end was lost", "code": 500},
    "x_vendor": 0,
}


@pytest.mark.parametrize("name", NEWS)
def test_what_comes_with_the_usage_is_not_hidden_with_it(sluice: Sluice, upstream: Upstream, name: str):
    chunk = {"id": "x", "object": "chat.completion.chunk", "choices": [], "usage": USAGE, name: NEWS[name]}
    frames = [frame(SAID), frame(FINISH)]
    got, row = stream_and_row(sluice, upstream, [*frames, frame(chunk), DONE])
    del chunk["usage"]
    assert got == b"".join([*frames, frame(chunk), DONE])
    assert row["prompt_tokens"] == 11
    assert row["outcome"] == ("upstream_error" if name == "error" else "complete")


def test_text_in_an_odd_plain_answer_is_estimated(sluice: Sluice, upstream: Upstream):
    _, row = answer_and_row(
        sluice, upstream, b'{"id":"x","choices":[{"message":{"content":"four four four"},"p":NaN}]}'
    )
    assert (row["completion_tokens"], row["usage_source"]) == (4, "estimated")


def test_a_chunk_of_usage_alone_is_hidden(sluice: Sluice, upstream: Upstream):
    chunk: dict[str, Any] = {
        "id": "x",
        "choices": [],
        "usage": USAGE,
        "system_fingerprint": "fp",
        "service_tier": None,
        "timings": None,
    }
    frames = [frame(SAID), frame(FINISH)]
    got, row = stream_and_row(sluice, upstream, [*frames, frame(chunk), DONE])
    assert got == b"".join([*frames, DONE])
    assert row["prompt_tokens"] == 11


def test_an_annotation_after_the_finish_is_no_error(sluice: Sluice, upstream: Upstream):
    note = {"choices": [{"index": 0, "delta": {"annotations": [{"type": "url_citation"}]}, "finish_reason": None}]}
    frames = [frame(SAID), frame(FINISH), frame(note)]
    got, row = stream_and_row(sluice, upstream, frames)
    assert got == b"".join(frames)
    assert (row["outcome"], row["error"]) == ("complete", "")


@pytest.mark.parametrize("error", [{}, None, "", []], ids=str)
def test_an_error_of_nothing_is_none(sluice: Sluice, upstream: Upstream, error: Any):
    frames = [frame({**SAID, "error": error}), frame({**FINISH, "error": error}), DONE]
    got, row = stream_and_row(sluice, upstream, frames)
    assert got == b"".join(frames)
    assert (row["outcome"], row["error"]) == ("complete", "")
    whole = {"id": "x", "choices": [{"index": 0, "message": {"content": "hi"}}], "error": error}
    _, row = answer_and_row(sluice, upstream, json.dumps(whole).encode())
    assert (row["outcome"], row["error"]) == ("complete", "")


@pytest.mark.parametrize("usage", [{}, {"usage": USAGE}], ids=["uncounted", "counted"])
def test_an_error_in_a_plain_200_is_told_in_the_row(sluice: Sluice, upstream: Upstream, usage: dict[str, Any]):
    raw = json.dumps({"error": {"message": "overloaded", "code": 529}, **usage}).encode()
    got, row = answer_and_row(sluice, upstream, raw)
    assert got == raw
    assert (row["status_code"], row["outcome"], row["error"]) == (200, "upstream_error", "upstream_answer_error")
    assert row["prompt_tokens"] == (11 if usage else None)


ODD: dict[str, bytes] = {
    "no UTF-8": b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"caf\xe9"},"finish_reason":null}]}\n\n',
    "NaN": b'data: {"choices":[{"index":0,"delta":{"content":"four"},"logprobs":NaN,"finish_reason":null}]}\n\n',
    "Infinity": b'data: {"choices":[{"index":0,"delta":{"content":"four"},"p":[-Infinity],"finish_reason":null}]}\n\n',
    "deep": b'data: {"choices":[{"index":0,"delta":{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}}]}\n\n",
    "a text as number": b'data: {"choices":[{"index":"0","delta":{"content":"four"},"finish_reason":null}]}\n\n',
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("body", [STREAM, WITH_USAGE], ids=["usage hidden", "untouched"])
def test_an_odd_chunk_goes_on_as_it_came(sluice: Sluice, upstream: Upstream, name: str, body: Any):
    frames = [frame(SAID), ODD[name], frame(FINISH), DONE]
    got, row = stream_and_row(sluice, upstream, frames, body=body)
    assert got == b"".join(frames)
    assert (row["outcome"], row["error"], row["usage_source"]) == ("complete", "", "estimated")


@pytest.mark.parametrize("name", ["no UTF-8", "NaN"])
def test_a_count_in_an_odd_chunk_is_read(sluice: Sluice, upstream: Upstream, name: str):
    odd = ODD[name].replace(b'"choices"', b'"usage":' + json.dumps(USAGE).encode() + b',"choices"')
    got, row = stream_and_row(sluice, upstream, [odd, frame(FINISH), DONE], body=WITH_USAGE)
    assert got == b"".join([odd, frame(FINISH), DONE])
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (11, 5, "provider")


@pytest.mark.parametrize(
    "text", [b'"caf\xe9"', b'"a","p":NaN', b'"a","p":[Infinity]'], ids=["no UTF-8", "NaN", "Infinity"]
)
def test_an_odd_plain_answer_goes_on_as_it_came(sluice: Sluice, upstream: Upstream, text: bytes):
    raw = b'{"id":"x","choices":[{"message":{"content":%s}}],"usage":%s}' % (text, json.dumps(USAGE).encode())
    got, row = answer_and_row(sluice, upstream, raw)
    assert got == raw
    assert (row["outcome"], row["prompt_tokens"], row["completion_tokens"]) == ("complete", 11, 5)


def test_half_an_answer_is_still_none(sluice: Sluice, upstream: Upstream):
    upstream.answers(body_answer(b'{"id":"x","choices":[NaN', content_type="application/json"))
    answer = client_of(sluice).post("/v1/chat/completions", json=CHAT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_invalid_response")


LAST: dict[str, dict[str, Any]] = {
    "numbers as text": {"type": "response.completed", "sequence_number": "7"},
    "no number": {"type": "response.completed", "sequence_number": [None]},
    "another name for the end": {"type": "response.done", "sequence_number": 7},
}


@pytest.mark.parametrize("name", LAST)
def test_the_end_of_a_response_is_seen(sluice: Sluice, upstream: Upstream, name: str):
    begun = {"type": "response.created", "sequence_number": "0", "response": response_object("", status="in_progress")}
    frames = [frame(begun), frame({**LAST[name], "response": response_object("hello")})]
    got, row = stream_and_row(sluice, upstream, frames, "/v1/responses", {**RESPONSES, "stream": True})
    assert got == b"".join(frames)
    assert (row["outcome"], row["error"], row["prompt_tokens"]) == ("complete", "", 9)


def test_an_event_whose_type_is_none_goes_on(sluice: Sluice, upstream: Upstream):
    odd = [frame({"type": [1], "response": response_object("", status="in_progress")}), b'data: {"type":NaN}\n\n']
    frames = [*odd, frame({"type": "response.completed", "response": response_object("hello")})]
    got, row = stream_and_row(sluice, upstream, frames, "/v1/responses", {**RESPONSES, "stream": True})
    assert got == b"".join(frames)
    assert row["outcome"] == "complete"


def pieces_of(whole: bytes, size: int = MIB) -> list[bytes]:
    return [whole[at : at + size] for at in range(0, len(whole), size)]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"], ids=["LF", "CRLF", "CR"])
def test_an_event_of_any_size_passes_and_what_follows_it_is_read(sluice: Sluice, upstream: Upstream, end: bytes):
    large = b'data: {"choices":[],"picture":"' + b"A" * (20 * MIB) + b'"}' + end
    frames = [frame(SAID), *pieces_of(large), *chat_frames(usage=USAGE)]
    got, row = stream_and_row(sluice, upstream, frames, body=WITH_USAGE)
    assert got == b"".join(frames)
    assert (row["outcome"], row["error"], row["prompt_tokens"]) == ("complete", "", 11)


def test_the_last_event_of_a_response_may_be_of_any_size(sluice: Sluice, upstream: Upstream):
    """As one with pictures in it is. What nobody could read was not counted; the text before it was."""
    response = {**response_object("hello"), "picture": "A" * (20 * MIB)}
    frames = [
        frame({"type": "response.created", "response": response_object("", status="in_progress")}),
        frame({"type": "response.output_text.delta", "delta": "four" * 5}),
        *pieces_of(frame({"type": "response.completed", "response": response})),
    ]
    got, row = stream_and_row(sluice, upstream, frames, "/v1/responses", {**RESPONSES, "stream": True})
    assert got == b"".join(frames)
    assert (row["outcome"], row["completion_tokens"], row["usage_source"]) == ("complete", 5, "estimated")


def test_an_event_without_an_end_takes_bounded_memory(sluice: Sluice, upstream: Upstream):
    upstream.answers([stream_head(), *[Chunk(b"A" * MIB)] * 200, EndChunks()])
    before = memory_kib(sluice, "VmHWM")
    size = 0
    with client_of(sluice).stream("POST", "/v1/chat/completions", json=STREAM) as answer:
        for piece in answer.iter_raw():
            size += len(piece)
    assert size >= 200 * MIB
    assert memory_kib(sluice, "VmHWM") - before < 100 * 1024
