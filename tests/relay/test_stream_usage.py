"""F72, P8: the provider is asked for a stream's usage, and a client that did not ask does not see it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.kit.clients import client_of, named, new_id
from tests.kit.ledger import row_of
from tests.kit.providers import add_provider
from tests.kit.requests import RESPONSES, STREAM, WITH_USAGE
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Chunk,
    EndChunks,
    Upstream,
    chat_frames,
    completion_stream,
    frame,
    response_usage,
    responses_stream,
    stream_head,
    usage_of,
)

SHAPES = ("usage-only", "last", "every")
USAGE = usage_of(
    11, 5, prompt_tokens_details={"cached_tokens": 4}, completion_tokens_details={"reasoning_tokens": 2}, other=1.50
)
TOLD = {"prompt_tokens": 11, "completion_tokens": 5, "cached_tokens": 4, "reasoning_tokens": 2}
HIDDEN = re.compile(rb',?"usage":(?:null|\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')


def stream(sluice: Sluice, upstream: Upstream, frames: Sequence[bytes], body: Any = STREAM) -> tuple[bytes, dict]:
    """What the client got, and the row."""
    upstream.answers([stream_head(), *map(Chunk, frames), EndChunks()])
    call = new_id()
    answer = client_of(sluice).post("/v1/chat/completions", json=body, headers=named(call))
    return answer.content, row_of(sluice, call)


@pytest.mark.parametrize("shape", SHAPES)
def test_usage_of_any_shape_is_counted_and_hidden(sluice: Sluice, upstream: Upstream, shape: Any):
    frames = chat_frames(usage=USAGE, usage_shape=shape)
    got, row = stream(sluice, upstream, frames)
    assert b'"usage"' not in got
    shown = [each for each in frames if b'"choices":[]' not in each]
    assert got == b"".join(HIDDEN.sub(b"", each) for each in shown)
    assert {name: row[name] for name in TOLD} == TOLD
    assert (row["usage_source"], row["outcome"]) == ("provider", "complete")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_client_that_asked_gets_every_byte(sluice: Sluice, upstream: Upstream, shape: Any):
    frames = chat_frames(usage=USAGE, usage_shape=shape)
    got, row = stream(sluice, upstream, frames, WITH_USAGE)
    assert got == b"".join(frames)
    assert {name: row[name] for name in TOLD} == TOLD


def test_without_any_usage_the_row_has_an_estimate_that_says_so(sluice: Sluice, upstream: Upstream):
    frames = chat_frames(["abcd"] * 10, usage_shape="none")
    got, row = stream(sluice, upstream, frames)
    assert got == b"".join(frames)
    assert (row["completion_tokens"], row["usage_source"], row["outcome"]) == (10, "estimated", "complete")


def test_the_last_usage_wins(sluice: Sluice, upstream: Upstream):
    begin, *middle, finish, usage, _ = chat_frames(usage=USAGE)
    _, row = stream(sluice, upstream, [begin, frame({"choices": [], "usage": usage_of(1, 1)}), *middle, finish, usage])
    assert {name: row[name] for name in TOLD} == TOLD


def test_the_provider_is_asked_for_it_and_other_options_are_kept(sluice: Sluice, upstream: Upstream):
    options = {"include_obfuscation": False, "include_usage": False, "other": [1]}
    body = {**STREAM, "stream_options": options, "seed": 7}
    stream(sluice, upstream, chat_frames(usage=USAGE), body)
    assert upstream.last.json() == {**body, "stream_options": {**options, "include_usage": True}}


@pytest.mark.parametrize("options", [{}, {"stream_options": None}, {"stream_options": {}}], ids=str)
def test_a_client_without_options_gets_them_asked_too(sluice: Sluice, upstream: Upstream, options: dict):
    got, _ = stream(sluice, upstream, chat_frames(usage=USAGE), {**STREAM, **options})
    assert upstream.last.json() == {**STREAM, "stream_options": {"include_usage": True}}
    assert b"usage" not in got


@pytest.mark.parametrize("stream_flag", [False, None])
def test_a_plain_request_is_not_touched(sluice: Sluice, upstream: Upstream, stream_flag: bool | None):
    body = {**STREAM, "stream": stream_flag}
    answer = client_of(sluice).post("/v1/chat/completions", json=body)
    assert upstream.last.json() == body
    assert answer.json()["usage"]


def test_legacy_completions_are_asked_and_hidden_too(sluice: Sluice, upstream: Upstream):
    upstream.answers(completion_stream(usage=USAGE))
    call = new_id()
    body = {"model": "m", "prompt": "x", "stream": True}
    answer = client_of(sluice).post("/v1/completions", json=body, headers=named(call))
    assert upstream.last.json()["stream_options"] == {"include_usage": True}
    assert b'"usage"' not in answer.content
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert row_of(sluice, call)["prompt_tokens"] == 11


def test_a_responses_stream_has_its_usage_anyway(sluice: Sluice, upstream: Upstream):
    script = responses_stream(usage=response_usage(11, 5, 4, 2))
    upstream.answers(script)
    call, body = new_id(), {**RESPONSES, "stream": True}
    answer = client_of(sluice).post("/v1/responses", json=body, headers=named(call))
    assert upstream.last.json() == body
    assert answer.content == b"".join(action.data for action in script if isinstance(action, Chunk))
    row = row_of(sluice, call)
    assert {name: row[name] for name in TOLD} == TOLD


def test_what_looks_like_usage_elsewhere_is_left_alone(sluice: Sluice, upstream: Upstream):
    """In the text, in an object further down: only the chunk's own member is ours."""
    choice = {"index": 0, "delta": {"content": '"usage":{}', "tool": {"usage": 1}}, "finish_reason": None}
    frames = [frame({"choices": [choice]}), *chat_frames(usage_shape="none")]
    got, _ = stream(sluice, upstream, frames)
    assert got == b"".join(frames)


@pytest.mark.parametrize("end", [b"\r", b"\r\n"], ids=["CR", "CRLF"])
def test_usage_is_hidden_with_other_line_ends_too(sluice: Sluice, upstream: Upstream, end: bytes):
    got, row = stream(sluice, upstream, [each.replace(b"\n", end) for each in chat_frames(usage=USAGE)])
    assert b'"usage"' not in got
    assert row["prompt_tokens"] == 11


def test_a_byte_order_mark_does_not_double_the_first_chunk(sluice: Sluice, upstream: Upstream):
    first, *others = chat_frames(usage=USAGE)
    got, _ = stream(sluice, upstream, [b"\xef\xbb\xbf" + first, *others])
    assert b'"usage"' not in got
    assert got.count(b'"role":"assistant"') == 1


def test_a_chunk_of_an_unusual_shape_hides_its_usage_too(sluice: Sluice, upstream: Upstream):
    """Mistral's reasoning models send a list as `content`."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    choice = {"index": 0, "delta": {"content": parts}, "finish_reason": None}
    got, row = stream(sluice, upstream, [frame({"choices": [choice], "usage": None}), *chat_frames(usage=USAGE)])
    assert b'"thinking"' in got
    assert b'"usage"' not in got
    assert row["outcome"] == "complete"


def test_a_provider_that_cannot_take_the_option_is_not_asked(sluice: Sluice, upstream: Upstream):
    [first] = sluice.api("GET", "/api/providers/").json()["results"]
    assert sluice.api("PATCH", f"/api/providers/{first['id']}/", json={"priority": 9}).status_code == 200
    add_provider(sluice, upstream.url, "old", {"old-model": "old-model"}, options={"include_usage": False})
    frames = chat_frames(usage=USAGE, usage_shape="last")
    body = {**STREAM, "model": "old-model"}
    got, row = stream(sluice, upstream, frames, body)
    assert upstream.last.json() == body
    assert got == b"".join(frames)
    assert (row["provider"], row["prompt_tokens"]) == ("old", 11)


def test_frames_are_json_after_the_cut(sluice: Sluice, upstream: Upstream):
    got, _ = stream(sluice, upstream, chat_frames(usage=USAGE, usage_shape="every"))
    chunks = [json.loads(line[6:]) for line in got.splitlines() if line.startswith(b"data: {")]
    assert (
        "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]) == "Hello world!"
    )
