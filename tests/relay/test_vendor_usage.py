"""How vendors count (X14): each in its own shape, plain and streamed, to the same tokens. What is odd is lost alone.

Where the genai-prices package has an extractor for a vendor's shape, it has to come to the same.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from genai_prices.data_snapshot import get_snapshot

from proxy.dialects.base import AnswerContext
from proxy.dialects.chat import ChunkReader
from proxy.dialects.counts import find_usage, read_usage
from tests.kit.counting import MODEL, counts_of
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, frame, json_answer, sse

PRICE = {"input": "1", "cached_input": "0.25", "output": "4", "reasoning": "8", "cache_write": "1.25"}

pytestmark = pytest.mark.server(prices={MODEL: PRICE})
CHAT = "/v1/chat/completions"
ASKED = {"messages": [{"role": "user", "content": "hi"}]}
TEXT = "four" * 100
"""A hundred tokens, estimated."""


class Vendor(NamedTuple):
    usage: dict[str, Any]
    tokens: tuple[int, int, int, int]
    """Prompt, completion; cached of the one, reasoning of the other."""
    extractor: tuple[str, str] | None = None
    """The vendor and the flavour of its API in genai-prices."""
    place: str = "top"


def counts(prompt: int, completion: int, total: int | None = None, **others: Any) -> dict[str, Any]:
    total = prompt + completion if total is None else total
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **others}


def reasoning(tokens: int) -> dict[str, Any]:
    return {"completion_tokens_details": {"reasoning_tokens": tokens}}


def cached(tokens: int) -> dict[str, Any]:
    return {"prompt_tokens_details": {"cached_tokens": tokens}}


VENDORS = {
    "openai": Vendor(counts(1000, 200, **cached(400), **reasoning(50)), (1000, 200, 400, 50), ("openai", "chat")),
    "xai, reasoning beside the answer": Vendor(
        counts(1000, 20, 1320, **cached(400), **reasoning(300)), (1000, 320, 400, 300), ("x-ai", "chat")
    ),
    "xai, as it was": Vendor(
        counts(1000, 20, 1320, reasoning_tokens=300, cached_prompt_text_tokens=400),
        (1000, 320, 400, 300),
        ("x-ai", "default"),
    ),
    "gemini, thoughts in the total alone": Vendor(counts(1000, 20, 1320), (1000, 320, 0, 300)),
    "deepseek": Vendor(
        counts(1000, 200, prompt_cache_hit_tokens=900, prompt_cache_miss_tokens=100, **reasoning(50)),
        (1000, 200, 900, 50),
    ),
    "moonshot, beside": Vendor(counts(1000, 200, cached_tokens=900), (1000, 200, 900, 0), ("anthropic", "chat")),
    "moonshot, in its choice": Vendor(counts(1000, 200, cached_tokens=900), (1000, 200, 900, 0), None, "choice"),
    "groq": Vendor(counts(1000, 200, queue_time=0.1, **cached(400)), (1000, 200, 400, 0), ("groq", "default")),
    "groq, in x_groq": Vendor(counts(1000, 200, queue_time=0.1), (1000, 200, 0, 0), None, "x_groq"),
    "mistral": Vendor(counts(1000, 200, num_cached_tokens=400), (1000, 200, 400, 0)),
    "perplexity": Vendor(
        counts(1000, 200, citation_tokens=500, num_search_queries=3, reasoning_tokens=700),
        (1000, 1400, 0, 700),
        ("perplexity", "default"),
    ),
    "databricks": Vendor(
        counts(1000, 200, cache_read_input_tokens=400, reasoning_tokens=50),
        (1000, 200, 400, 50),
        ("databricks", "chat"),
    ),
    "anthropic, its own names": Vendor(
        {"input_tokens": 100, "output_tokens": 200, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 0},
        (1000, 200, 900, 0),
        ("anthropic", "default"),
    ),
    "anthropic behind another gateway": Vendor(
        counts(100, 200, 1200, cache_read_input_tokens=900, cache_creation_input_tokens=0), (1000, 200, 900, 0)
    ),
    "cohere": Vendor(
        {
            "billed_units": {"input_tokens": 990, "output_tokens": 200},
            "tokens": {"input_tokens": 1000, "output_tokens": 200},
        },
        (1000, 200, 0, 0),
        ("cohere", "tokens"),
    ),
    "cerebras": Vendor(counts(1000, 200, **reasoning(50)), (1000, 200, 0, 50), ("cerebras", "chat")),
    "whole numbers with a fraction": Vendor(counts(1000.0, 200.0, 1200.0), (1000, 200, 0, 0)),  # type: ignore[arg-type]
    "numbers as text": Vendor({"prompt_tokens": "1000", "completion_tokens": "200"}, (1000, 200, 0, 0)),
    "a detail that is no number": Vendor(
        counts(1000, 200, prompt_tokens_details={"cached_tokens": "many", "audio_tokens": 1.5}, **reasoning(50)),
        (1000, 200, 0, 50),
    ),
    "details that are none": Vendor(counts(1000, 200, prompt_tokens_details=7, **reasoning(50)), (1000, 200, 0, 50)),
    "a total that is none": Vendor({**counts(1000, 200), "total_tokens": "a lot"}, (1000, 200, 0, 0)),
    "a negative detail": Vendor(counts(1000, 200, **cached(-4), **reasoning(50)), (1000, 200, 0, 50)),
}


def answer_of(vendor: Vendor) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    return with_usage({"id": "x-1", "model": MODEL, "choices": [choice]}, vendor)


def with_usage(answer: dict[str, Any], vendor: Vendor) -> dict[str, Any]:
    if vendor.place == "choice":
        [choice] = answer["choices"]
        return {**answer, "choices": [{**choice, "usage": vendor.usage}]}
    if vendor.place == "x_groq":
        return {**answer, "x_groq": {"id": "req_1", "usage": vendor.usage}}
    return {**answer, "usage": vendor.usage}


def frames_of(vendor: Vendor) -> list[bytes]:
    chunks: list[dict[str, Any]] = [
        {"id": "x-1", "model": MODEL, "choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": None}]},
        with_usage(
            {"id": "x-1", "model": MODEL, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, vendor
        ),
    ]
    return [*map(frame, chunks), frame("[DONE]")]


def counts_in(usage: Any) -> tuple[int, int, int, int]:
    return usage.prompt, usage.completion, usage.cached or 0, usage.reasoning or 0


@pytest.mark.parametrize("name", VENDORS)
def test_a_plain_count_is_read(name: str):
    vendor = VENDORS[name]
    assert counts_in(find_usage(answer_of(vendor))) == vendor.tokens
    assert counts_in(read_usage(json.dumps(vendor.usage).encode())) == vendor.tokens


@pytest.mark.parametrize("name", VENDORS)
def test_a_streamed_count_is_the_same(name: str):
    vendor = VENDORS[name]
    reader = ChunkReader(AnswerContext())
    frames = frames_of(vendor)
    assert [reader.frame(each) for each in frames] == frames
    usage = reader.usage_so_far()
    assert usage is not None
    assert (counts_in(usage), usage.source) == (vendor.tokens, "provider")


@pytest.mark.parametrize("name", [name for name, vendor in VENDORS.items() if vendor.extractor])
def test_the_extractor_of_the_price_list_agrees(name: str):
    vendor = VENDORS[name]
    assert vendor.extractor is not None
    provider_id, flavor = vendor.extractor
    provider = next(each for each in get_snapshot().providers if each.id == provider_id)
    _, usage = provider.extract_usage({"model": "m", "usage": vendor.usage}, api_flavor=flavor)
    prompt, completion, from_cache, thought = vendor.tokens
    assert (usage.input_tokens, usage.output_tokens) == (prompt, completion)
    assert usage.cache_read_tokens in (from_cache, None)
    assert usage.output_reasoning_tokens in (thought, None)


@pytest.mark.parametrize(
    "name", ["xai, reasoning beside the answer", "deepseek", "moonshot, in its choice", "perplexity", "cohere"]
)
def test_a_row_has_and_costs_what_the_vendor_counted(server: Sluice, upstream: Upstream, key: str, name: str):
    vendor = VENDORS[name]
    upstream.answers(json_answer(answer_of(vendor)), sse(frames_of(vendor)))
    prompt, completion, from_cache, thought = vendor.tokens
    row = counts_of(server, key, CHAT, ASKED)
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (prompt, completion, "provider")
    assert (
        row["cost_picousd"]
        == 10**6 * ((prompt - from_cache) + 4 * (completion - thought) + 8 * thought) + from_cache * 250_000
    )
    assert counts_of(server, key, CHAT, {**ASKED, "stream": True}) == row


NO_COUNTS: dict[str, tuple[Any, int | None]] = {
    "zeros": (counts(0, 0), None),
    "nulls": ({"prompt_tokens": None, "completion_tokens": None}, None),
    "negative": (counts(-1, -1), None),
    "beyond belief": ({"prompt_tokens": 10**30, "completion_tokens": 10**30}, None),
    "the prompt alone": ({"prompt_tokens": 1000}, 1000),
    "the prompt and nothing said": (counts(1000, 0), 1000),
    "the prompt and less than nothing": (counts(1000, -5, 995), 1000),
    "an empty object": ({}, None),
}


@pytest.mark.parametrize("name", NO_COUNTS)
def test_a_text_that_nobody_counted_is_estimated(server: Sluice, upstream: Upstream, key: str, name: str):
    """X15: a hundred tokens came, whatever is said of them."""
    usage, prompt = NO_COUNTS[name]
    vendor = Vendor(usage, (0, 0, 0, 0))
    upstream.answers(json_answer(answer_of(vendor)), sse(frames_of(vendor)))
    row = counts_of(server, key, CHAT, ASKED)
    assert (row["completion_tokens"], row["usage_source"]) == (100, "estimated")
    assert row["prompt_tokens"] == prompt or (prompt is None and 1 < row["prompt_tokens"] < 20)
    assert counts_of(server, key, CHAT, {**ASKED, "stream": True}) == row


def test_a_response_that_counts_nothing_is_estimated_too(server: Sluice, upstream: Upstream, key: str):
    content = [{"type": "output_text", "text": TEXT, "annotations": []}]
    response = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": MODEL,
        "output": [{"type": "message", "role": "assistant", "content": content}],
        "usage": {"input_tokens": 1000, "output_tokens": 0, "total_tokens": 1000},
    }
    done = frame({"type": "response.completed", "response": response}, "response.completed")
    upstream.answers(json_answer(response), sse([done]))
    row = counts_of(server, key, "/v1/responses", {"input": "hi"})
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (1000, 100, "estimated")
    assert counts_of(server, key, "/v1/responses", {"input": "hi", "stream": True}) == row


@pytest.mark.parametrize("usage", [{"total_tokens": 1000}, {"prompt_tokens": 10, "total_tokens": 1000}], ids=str)
def test_an_embedding_says_nothing_whatever_its_total_is(server: Sluice, upstream: Upstream, key: str, usage: Any):
    """Vendors that embed pictures have those in the total alone."""
    data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
    upstream.answers(json_answer({"object": "list", "data": data, "model": MODEL, "usage": usage}))
    row = counts_of(server, key, "/v1/embeddings", {"input": "hi"})
    assert (row["prompt_tokens"], row["completion_tokens"], row["cost_picousd"]) == (1000, None, 1000 * 10**6)
