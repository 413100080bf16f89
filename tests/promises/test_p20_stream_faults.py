"""P20: a stream that fails says so in its own dialect, and is never sold as a complete one."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tests.kit.clients import client_of, named, new_id
from tests.kit.ledger import row_of
from tests.kit.requests import RESPONSES, STREAM, WITH_USAGE
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import (
    Action,
    Chunk,
    Close,
    EndChunks,
    Reset,
    Send,
    Upstream,
    WaitFor,
    chat_frames,
    frame,
    responses_stream,
    stream_head,
)

pytestmark = pytest.mark.server(STREAM_IDLE_TIMEOUT_SECS=2)

FRAMES = chat_frames(usage_shape="none")
FINISHED = FRAMES[:-1]
BEGUN = FRAMES[:3]
EVENTS = [action.data for action in responses_stream() if isinstance(action, Chunk)]

# What comes after the first frames, and the code that it has.
FAULTS: dict[str, tuple[Sequence[Action], str]] = {
    "reset": ([Reset()], "upstream_disconnected"),
    "closed without a last chunk": ([Close()], "upstream_disconnected"),
    "closed within a chunk": ([Send(b"ff\r\ndata: {"), Close()], "upstream_disconnected"),
    "cut within a frame": ([Chunk(b'data: {"choices":[{"del'), Close()], "upstream_disconnected"),
    "stalled": ([WaitFor(threading.Event())], "upstream_idle_timeout"),
    "half a JSON as a frame": ([Chunk(b'data: {"choices":[{"del\n\n')], "upstream_malformed"),
    "half a JSON at a clean end": ([Chunk(b'data: {"choices":[{"del'), EndChunks()], "upstream_malformed"),
    "half a comment at a clean end": ([Chunk(b": keep"), EndChunks()], "upstream_incomplete"),
    "half a field at a clean end": ([Chunk(b"da"), EndChunks()], "upstream_incomplete"),
    "half a [DONE] at a clean end": ([Chunk(b"data: [DO"), EndChunks()], "upstream_incomplete"),
    "no blank line at a clean end": ([Chunk(b'data: {"choices":[]}\n'), EndChunks()], "upstream_incomplete"),
    "half a comment, then closed": ([Chunk(b": keep"), Close()], "upstream_disconnected"),
    "a page at a clean end": ([Chunk(b"<html>oops</html>"), EndChunks()], "upstream_incomplete"),
    "a chunk's size that is none": ([Send(b"zz\r\n")], "upstream_malformed"),
    "no finish at a clean end": ([EndChunks()], "upstream_incomplete"),
}


def broken(frames: Sequence[bytes], fault: Sequence[Action], seen: threading.Event) -> list[Action]:
    """These frames, then the fault once the client has them: a reset may take with it what is still on the way."""
    return [stream_head(), *map(Chunk, frames), WaitFor(seen), *fault]


def read(sluice: Sluice, path: str, body: Any, before: bytes, seen: threading.Event, call: str) -> bytes:
    """The answer's bytes after `before`; `seen` is set when that has come."""
    got = b""
    with client_of(sluice).stream("POST", path, json=body, headers=named(call)) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_raw():
            got += piece
            if len(got) >= len(before):
                seen.set()
    assert got.startswith(before)
    return got[len(before) :]


def data_in(frames: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in frames.split(b"\n") if line.startswith(b"data: ")]


@pytest.mark.parametrize("body", [STREAM, WITH_USAGE], ids=["usage hidden", "untouched"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_chat_stream_ends_in_an_error_event(sluice: Sluice, upstream: Upstream, name: str, body: dict):
    fault, code = FAULTS[name]
    seen, call = threading.Event(), new_id()
    upstream.answers(broken(BEGUN, fault, seen))
    after = read(sluice, "/v1/chat/completions", body, b"".join(BEGUN), seen, call)
    assert b"[DONE]" not in after
    [told] = data_in(after)
    assert set(told) == {"error"}
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert told["error"]["code"] == code
    assert after.endswith(b"}\n\n")
    row = row_of(sluice, call)
    assert (row["outcome"], row["error"], row["status_code"]) == ("upstream_error", code, 200)
    assert (row["usage_source"], row["completion_tokens"]) == ("estimated", 2)  # of "Hello", four letters a token


@pytest.mark.parametrize("name", FAULTS)
def test_a_responses_stream_ends_in_an_error_event(sluice: Sluice, upstream: Upstream, name: str):
    fault, code = FAULTS[name]
    seen, call = threading.Event(), new_id()
    upstream.answers(broken(EVENTS[:4], fault, seen))
    after = read(sluice, "/v1/responses", {**RESPONSES, "stream": True}, b"".join(EVENTS[:4]), seen, call)
    assert after.startswith(b"event: error\ndata: ")
    [told] = data_in(after)
    assert (told["type"], told["code"], told["sequence_number"]) == ("error", code, 4)
    assert b"response.completed" not in after
    row = row_of(sluice, call)
    assert (row["outcome"], row["error"]) == ("upstream_error", code)


def test_one_unfinished_choice_of_two_is_a_cut_answer(sluice: Sluice, upstream: Upstream):
    def chunk(index: int, finish: str | None) -> bytes:
        return frame({"choices": [{"index": index, "delta": {"content": "x"}, "finish_reason": finish}]})

    frames = [chunk(0, None), chunk(1, None), chunk(0, "stop")]
    upstream.answers([stream_head(), *map(Chunk, frames), EndChunks()])
    call = new_id()
    after = read(sluice, "/v1/chat/completions", WITH_USAGE, b"".join(frames), threading.Event(), call)
    assert data_in(after)[0]["error"]["code"] == "upstream_incomplete"
    assert row_of(sluice, call)["outcome"] == "upstream_error"


@pytest.mark.parametrize("end", [EndChunks(), Close()], ids=["clean end", "closed"])
def test_a_missing_done_after_the_finish_is_not_invented(sluice: Sluice, upstream: Upstream, end: Action):
    seen, call = threading.Event(), new_id()
    upstream.answers(broken(FINISHED, [end], seen))
    after = read(sluice, "/v1/chat/completions", WITH_USAGE, b"".join(FINISHED), seen, call)
    assert b"[DONE]" not in after
    row = row_of(sluice, call)
    if isinstance(end, EndChunks):
        assert after == b""
        assert (row["outcome"], row["error"]) == ("complete", "")
    else:  # the usage may have been lost with it
        assert row["outcome"] == "upstream_error"


@pytest.mark.parametrize("fault", [Close(), Reset(), WaitFor(threading.Event())], ids=["closed", "reset", "stalled"])
def test_what_happens_after_done_harms_nobody(sluice: Sluice, upstream: Upstream, fault: Action):
    seen, call = threading.Event(), new_id()
    upstream.answers(broken(FRAMES, [fault], seen))
    assert read(sluice, "/v1/chat/completions", WITH_USAGE, b"".join(FRAMES), seen, call) == b""
    assert row_of(sluice, call)["outcome"] == "complete"


def test_an_error_in_the_providers_own_words_is_passed_on_and_noted(sluice: Sluice, upstream: Upstream):
    error = frame({"error": {"message": "overloaded", "type": "server_error", "param": None, "code": None}})
    upstream.answers([stream_head(), *map(Chunk, [*BEGUN, error]), EndChunks()])
    call = new_id()
    assert read(sluice, "/v1/chat/completions", STREAM, b"".join([*BEGUN, error]), threading.Event(), call) == b""
    assert row_of(sluice, call)["outcome"] == "upstream_error"


def test_tokens_that_keep_coming_are_never_cut(start_sluice: StartSluice, upstream: Upstream):
    """A stream may take longer than any of the limits, as long as none of its pauses does."""
    sluice = start_sluice(STREAM_IDLE_TIMEOUT_SECS=2, TTFT_TIMEOUT_SECS=2, REQUEST_TIMEOUT_SECS=2)
    frames = chat_frames(["x"] * 12)
    gates = [threading.Event() for _ in frames]
    script: list[Action] = [stream_head()]
    for each, gate in zip(frames, gates, strict=True):
        script += [Chunk(each), WaitFor(gate)]
    upstream.answers([*script, EndChunks()])
    pauses = threading.Event()  # never set: a wait of its own length
    with client_of(sluice).stream("POST", "/v1/chat/completions", json=WITH_USAGE) as answer:
        got = b""
        pieces = answer.iter_raw()
        for each, gate in zip(frames, gates, strict=True):
            got += next(pieces)
            assert got.endswith(each)
            pauses.wait(0.25)
            gate.set()
        assert b"".join(pieces) == b""
