"""P8: a streamed answer costs what the same plain answer costs, wherever in the stream its usage is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.kit.counting import MODEL, counts_of
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import Script, Upstream, frame, json_answer, response_usage, sse, usage_of
from tests.kit.upstream.answers import response_object

PRICE = {"input": "1", "cached_input": "0.25", "output": "4", "reasoning": "8"}

pytestmark = pytest.mark.server(prices={MODEL: PRICE})
USAGE = usage_of(
    1000, 200, prompt_tokens_details={"cached_tokens": 400}, completion_tokens_details={"reasoning_tokens": 50}
)
COST = (600 * 1_000_000) + (400 * 250_000) + (150 * 4_000_000) + (50 * 8_000_000)
"""Of that usage, in picodollars."""

TEXTS = ("Grüße", ", ", "世界", " and", " so on", ".")
ASKED: tuple[dict[str, Any], ...] = ({}, {"stream_options": {"include_usage": True}})
Chunks = list[dict[str, Any]]


def chunks_of(path: str) -> Chunks:
    """An answer in pieces: the texts, then the finish."""
    base: dict[str, Any] = {"id": "x-1", "model": MODEL}

    def chunk(text: str, finish: str | None) -> dict[str, Any]:
        said = {"delta": {"content": text}} if "chat" in path else {"text": text}
        return {**base, "choices": [{"index": 0, **said, "finish_reason": finish}]}

    return [*(chunk(text, None) for text in TEXTS), chunk("", "stop")]


def plain(path: str, usage: dict[str, Any] | None) -> Script:
    text = "".join(TEXTS)
    said = {"message": {"role": "assistant", "content": text}} if "chat" in path else {"text": text}
    told = {} if usage is None else {"usage": usage}
    return json_answer(
        {"id": "x-1", "model": MODEL, "choices": [{"index": 0, **said, "finish_reason": "stop"}], **told}
    )


def so_far(count: int) -> dict[str, Any]:
    return usage_of(1000, count)


def in_a_chunk_of_its_own(chunks: Chunks) -> Chunks:
    return [*chunks, {**chunks[0], "choices": [], "usage": USAGE}]


def in_a_chunk_of_its_own_after_nulls(chunks: Chunks) -> Chunks:
    """As OpenAI sends it."""
    return in_a_chunk_of_its_own([{**chunk, "usage": None} for chunk in chunks])


def in_the_last_chunk_with_choices(chunks: Chunks) -> Chunks:
    return [*chunks[:-1], {**chunks[-1], "usage": USAGE}]


def in_every_chunk(chunks: Chunks) -> Chunks:
    return [*({**chunk, "usage": so_far(n)} for n, chunk in enumerate(chunks[:-1])), {**chunks[-1], "usage": USAGE}]


def in_the_middle_and_never_again(chunks: Chunks) -> Chunks:
    return [*chunks[:3], {**chunks[3], "usage": USAGE}, *chunks[4:]]


def first_of_the_prompt_then_of_all(chunks: Chunks) -> Chunks:
    """As servers send it that count the prompt when they begin."""
    return [{**chunks[0], "usage": so_far(0)}, *in_a_chunk_of_its_own(chunks[1:])]


def behind_nulls_that_follow_it(chunks: Chunks) -> Chunks:
    return [*in_the_last_chunk_with_choices(chunks), {**chunks[0], "choices": [], "usage": None}]


SHAPES = (
    in_a_chunk_of_its_own,
    in_a_chunk_of_its_own_after_nulls,
    in_the_last_chunk_with_choices,
    in_every_chunk,
    in_the_middle_and_never_again,
    first_of_the_prompt_then_of_all,
    behind_nulls_that_follow_it,
)


def stream(chunks: Chunks) -> Script:
    return sse([*map(frame, chunks), frame("[DONE]")])


PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"prompt": "hi"},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_usage_is_found_in_any_chunk(server: Sluice, upstream: Upstream, key: str, path: str, shape: Any):
    upstream.answers(plain(path, USAGE), *[stream(shape(chunks_of(path)))] * 2)
    expected = counts_of(server, key, path, PATHS[path])
    assert (expected["usage_source"], expected["cost_picousd"]) == ("provider", COST)
    for options in ASKED:
        assert counts_of(server, key, path, {**PATHS[path], "stream": True, **options}) == expected


@pytest.mark.parametrize("path", PATHS)
def test_what_nobody_counted_is_estimated_alike(server: Sluice, upstream: Upstream, key: str, path: str):
    upstream.answers(plain(path, None), *[stream(chunks_of(path))] * 2)
    expected = counts_of(server, key, path, PATHS[path])
    assert expected["usage_source"] == "estimated"
    assert expected["completion_tokens"] == tokens("".join(TEXTS))
    prompt = expected["prompt_tokens"]
    assert prompt == tokens(json.dumps(next(iter(PATHS[path].values()))))
    assert expected["cost_picousd"] == prompt * 1_000_000 + expected["completion_tokens"] * 4_000_000
    for options in ASKED:
        assert counts_of(server, key, path, {**PATHS[path], "stream": True, **options}) == expected


def tokens(text: str) -> int:
    return -(-len(text.encode()) // 4)


SAID: dict[str, tuple[dict[str, Any], Sequence[dict[str, Any]]]] = {
    "a call of a tool": (
        {
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"a":"ü"}'}}
            ]
        },
        [
            {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather"}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '"ü"}'}}]},
        ],
    ),
    "what was thought": (
        {"reasoning_content": "hm, well", "content": "yes"},
        [{"reasoning_content": "hm, "}, {"reasoning_content": "well"}, {"content": "yes"}],
    ),
    "a refusal": (
        {"content": None, "refusal": "I cannot do that."},
        [{"refusal": "I cannot"}, {"refusal": " do that."}],
    ),
    "parts of a content": (
        {"content": [{"type": "text", "text": "one two three"}]},
        [{"content": [{"type": "text", "text": "one"}]}, {"content": [{"type": "text", "text": " two three"}]}],
    ),
}


@pytest.mark.parametrize("what", SAID)
def test_all_that_a_model_says_is_estimated(server: Sluice, upstream: Upstream, key: str, what: str):
    message, deltas = SAID[what]
    path = "/v1/chat/completions"
    ends = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    whole = json_answer({"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    upstream.answers(whole, stream([*chunks, {"choices": [ends]}]))
    expected = counts_of(server, key, path, PATHS[path])
    assert expected["completion_tokens"] > 2
    assert counts_of(server, key, path, {**PATHS[path], "stream": True}) == expected


def responses_events(usage: dict[str, Any] | None, *, told_before: bool = False) -> list[bytes]:
    text = "".join(TEXTS)
    begun = response_object("", model=MODEL, status="in_progress")
    whole = {**response_object(text, model=MODEL), "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {
            "type": "response.in_progress",
            "response": {**begun, "usage": response_usage(1000, 0) if told_before else None},
        },
        *({"type": "response.output_text.delta", "output_index": 0, "delta": piece} for piece in TEXTS),
        {"type": "response.output_text.done", "output_index": 0, "text": text},
        {"type": "response.completed", "response": whole},
    ]
    return [frame(event, event["type"]) for event in events]


@pytest.mark.parametrize("usage", [response_usage(1000, 200, 400, 50), None], ids=["counted", "not counted"])
@pytest.mark.parametrize("told_before", [False, True])
def test_a_response_costs_the_same_in_events(
    server: Sluice, upstream: Upstream, key: str, usage: dict[str, Any] | None, told_before: bool
):
    whole = {**response_object("".join(TEXTS), model=MODEL), "usage": usage}
    upstream.answers(json_answer(whole), sse(responses_events(usage, told_before=told_before)))
    expected = counts_of(server, key, "/v1/responses", {"input": "hi"})
    if usage is None:
        assert (expected["usage_source"], expected["completion_tokens"]) == ("estimated", tokens("".join(TEXTS)))
    else:
        assert (expected["usage_source"], expected["cost_picousd"]) == ("provider", COST)
    assert counts_of(server, key, "/v1/responses", {"input": "hi", "stream": True}) == expected


def test_a_response_that_goes_on_without_its_client_is_not_guessed_at(start_sluice: StartSluice, upstream: Upstream):
    server = start_sluice()  # it goes on asking for the response, and would take the answers of the tests that follow
    upstream.answers(json_answer({"id": "resp_later", "status": "queued", "output": [], "usage": None}))
    told = counts_of(server, server.mint(), "/v1/responses", {"input": "hi", "background": True})
    assert (told["usage_source"], told["cost_picousd"], told["price_source"]) == ("", 0, "")


def test_a_count_of_nothing_before_a_text_is_completed(server: Sluice, upstream: Upstream, key: str):
    """A server that counts the prompt alone, and never what it made of it."""
    path = "/v1/chat/completions"
    first, *others = chunks_of(path)
    upstream.answers(stream([{**first, "choices": [], "usage": so_far(0)}, first, *others]))
    told = counts_of(server, key, path, {**PATHS[path], "stream": True})
    assert (told["prompt_tokens"], told["usage_source"]) == (1000, "estimated")
    assert told["completion_tokens"] == tokens("".join(TEXTS))


def test_a_long_prompt_is_estimated_before_the_answer_ends(server: Sluice, upstream: Upstream, key: str):
    """Off the event loop, and in the row all the same; the picture in it is no text."""
    path = "/v1/chat/completions"
    parts = [
        {"type": "text", "text": "four" * 400_000},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3_000_000}},
        {"type": "text", "text": "four" * 100_000},
    ]
    body = {"messages": [{"role": "user", "content": parts}]}
    upstream.answers(plain(path, None), stream(chunks_of(path)))
    expected = counts_of(server, key, path, body)
    assert 500_000 < expected["prompt_tokens"] < 500_100
    assert counts_of(server, key, path, {**body, "stream": True}) == expected
