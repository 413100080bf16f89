"""P18 on the wire: the client gets the provider's bytes, whatever is in them and however they were cut."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit.clients import client_of, named, new_id
from tests.kit.ledger import row_of
from tests.kit.requests import RESPONSES, STREAM, WITH_USAGE
from tests.kit.sluice import Sluice
from tests.kit.upstream import Chunk, EndChunks, Upstream, chat_frames, responses_stream, stream_head

ONE_SERVER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

ends = st.sampled_from(["\n", "\r", "\r\n"])
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
letters = st.text(st.sampled_from("aé€😀\u2028\x85 :"), max_size=12)


@st.composite
def chat_streams(draw: st.DrawFn) -> bytes:
    """A whole chat stream in one kind of line end, with all that may stand between and around its chunks."""
    end = draw(ends)
    frames = [
        [*draw(extra_lines()), *data_lines(draw, {"delta": {"content": token}, "finish_reason": None})]
        for token in draw(st.lists(words, max_size=6))
    ]
    frames.append(data_lines(draw, {"delta": {}, "finish_reason": "stop"}))
    if draw(st.booleans()):
        frames.append([": " + draw(letters)])
    frames.append(["data: [DONE]"])
    mark = "\ufeff" if draw(st.booleans()) else ""
    return (mark + "".join(end.join(lines) + end + end for lines in frames)).encode()


@st.composite
def extra_lines(draw: st.DrawFn) -> list[str]:
    names = st.sampled_from(["event: ", "id: ", ": ", "retry: 1", "x: "])
    return [name + text for name, text in draw(st.lists(st.tuples(names, letters), max_size=2))]


def data_lines(draw: st.DrawFn, choice: dict[str, Any]) -> list[str]:
    chunk = {"id": "chatcmpl-1", "choices": [{"index": 0, **choice}], "unknown": {"k": [1.0, 10**30]}}
    written = json.dumps(chunk, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    space = draw(st.sampled_from(["", " "]))
    return [f"data:{space}{line}" for line in written.split("\n")]


@st.composite
def cut(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    if draw(st.booleans()):
        size = draw(st.sampled_from([1, 2, 3, 7]))
        return [stream[at : at + size] for at in range(0, len(stream), size)]
    borders = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[start:stop] for start, stop in itertools.pairwise([0, *borders, len(stream)]) if stop > start]


@given(data=st.data())
@ONE_SERVER
def test_a_chat_stream_is_byte_identical_for_any_chunking(sluice: Sluice, upstream: Upstream, data: st.DataObject):
    stream = data.draw(chat_streams())
    upstream.answers([stream_head(), *map(Chunk, data.draw(cut(stream))), EndChunks()])
    answer = client_of(sluice).post("/v1/chat/completions", json=WITH_USAGE)
    assert answer.content == stream


@given(data=st.data())
@ONE_SERVER
def test_a_responses_stream_is_byte_identical_for_any_chunking(sluice: Sluice, upstream: Upstream, data: st.DataObject):
    script = responses_stream(data.draw(st.lists(words, min_size=1, max_size=4)))
    stream = b"".join(action.data for action in script if isinstance(action, Chunk))
    stream = stream.replace(b"\n", data.draw(ends).encode())
    upstream.answers([stream_head(), *map(Chunk, data.draw(cut(stream))), EndChunks()])
    answer = client_of(sluice).post("/v1/responses", json={**RESPONSES, "stream": True})
    assert answer.content == stream


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_a_stream_is_complete_whatever_its_line_ends(sluice: Sluice, upstream: Upstream, end: bytes):
    """It is not only passed on but also read: tokens, id and outcome are in the row."""
    frames = [frame.replace(b"\n", end) for frame in chat_frames()]
    upstream.answers([stream_head(), *map(Chunk, frames), EndChunks()])
    call = new_id()
    answer = client_of(sluice).post("/v1/chat/completions", json=WITH_USAGE, headers=named(call))
    assert answer.content == b"".join(frames)
    row = row_of(sluice, call)
    assert (row["outcome"], row["prompt_tokens"], row["completion_tokens"]) == ("complete", 9, 5)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_json_over_several_data_lines_is_one_event(sluice: Sluice, upstream: Upstream, end: bytes):
    chunk = {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
    lines = json.dumps(chunk, indent=1).encode().split(b"\n")
    frame = end.join([b"event: chunk", *(b"data: " + line for line in lines)]) + end + end
    upstream.answers([stream_head(), Chunk(frame), Chunk(b"data: [DONE]" + end + end), EndChunks()])
    call = new_id()
    answer = client_of(sluice).post("/v1/chat/completions", json=WITH_USAGE, headers=named(call))
    assert answer.content == frame + b"data: [DONE]" + end + end
    assert row_of(sluice, call)["outcome"] == "complete"


def test_a_frame_of_a_megabyte_comes_whole(sluice: Sluice, upstream: Upstream):
    head, *others = chat_frames(["€" * 350_000])
    frames = [head, *others]
    assert max(map(len, frames)) > 1_000_000
    stream = b"".join(frames)
    pieces = [stream[at : at + 4099] for at in range(0, len(stream), 4099)]
    upstream.answers([stream_head(), *map(Chunk, pieces), EndChunks()])
    answer = client_of(sluice).post("/v1/chat/completions", json=WITH_USAGE)
    assert answer.content == stream


def test_what_is_no_json_at_all_is_passed_on(sluice: Sluice, upstream: Upstream):
    """Some servers send words of their own between the chunks; a client that knows them may want them."""
    frames = [b"data: ping\n\n", b"data:\n\n", b"data: [1, 2]\n\n", b"event: bare\n\n", b"\n\n", *chat_frames()]
    upstream.answers([stream_head(), *map(Chunk, frames), EndChunks()])
    assert client_of(sluice).post("/v1/chat/completions", json=WITH_USAGE).content == b"".join(frames)


def test_the_last_frame_may_lack_its_blank_line(sluice: Sluice, upstream: Upstream):
    stream = b"".join(chat_frames()).removesuffix(b"\n\n")
    upstream.answers([stream_head(), Chunk(stream), EndChunks()])
    call = new_id()
    answer = client_of(sluice).post("/v1/chat/completions", json=WITH_USAGE, headers=named(call))
    assert answer.content == stream
    assert row_of(sluice, call)["outcome"] == "complete"


def test_a_stream_is_never_compressed(sluice: Sluice, upstream: Upstream):
    upstream.answers([stream_head(), *map(Chunk, chat_frames(["a" * 10_000])), EndChunks()])
    answer = client_of(sluice).post("/v1/chat/completions", json=STREAM, headers={"accept-encoding": "gzip, br"})
    assert "content-encoding" not in answer.headers
    assert upstream.last.header("accept-encoding") == "identity"
    assert b"aaaaaaaaaa" in answer.content
