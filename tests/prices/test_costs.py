"""P2, P8, F105, F106: through the running server, a row costs its tokens times the price, streamed or not."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest

from tests.kit.clients import client_of
from tests.kit.ledger import shown_row_of
from tests.kit.providers import add_provider
from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Upstream,
    WaitFor,
    chat_answer,
    chat_stream,
    error_answer,
    json_answer,
    response_usage,
    responses_answer,
    responses_stream,
    usage_of,
)
from tests.kit.upstream.answers import embeddings_answer
from tests.kit.waiting import soon

# gpt-4.1-mini: 0.4 USD for a million input tokens, 0.1 cached, 1.6 output.
USAGE = usage_of(
    1000, 200, prompt_tokens_details={"cached_tokens": 400}, completion_tokens_details={"reasoning_tokens": 50}
)
COST = (600 * Decimal("0.4") + 400 * Decimal("0.1") + 200 * Decimal("1.6")) / 1_000_000
SHAPES = ("usage-only", "last", "every")


def cost_of(server: Sluice, answer: Any) -> tuple[Any, str]:
    row = shown_row_of(server, answer)
    assert row["cost_usd"] is None or isinstance(row["cost_usd"], str)
    return None if row["cost_usd"] is None else Decimal(row["cost_usd"]), row["price_source"]


def test_a_plain_answer_costs_its_tokens(sluice: Sluice, upstream: Upstream, key: str):
    upstream.answers(chat_answer(usage=USAGE))
    assert cost_of(sluice, ask(sluice, key)) == (COST, "genai-prices")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_streamed_answer_costs_what_the_plain_one_does(sluice: Sluice, upstream: Upstream, key: str, shape: Any):
    upstream.answers(chat_stream(usage=USAGE, usage_shape=shape))
    assert cost_of(sluice, ask(sluice, key, stream=True)) == (COST, "genai-prices")


def test_an_answer_of_the_responses_api_costs_the_same(sluice: Sluice, upstream: Upstream, key: str):
    usage = response_usage(1000, 200, cached=400, reasoning=50)
    upstream.answers(responses_answer(usage=usage), responses_stream(usage=usage))
    for stream in (False, True):
        answer = ask(sluice, key, path="/v1/responses", input="hi", stream=stream)
        assert cost_of(sluice, answer) == (COST, "genai-prices")


def test_embeddings_cost_their_prompt(sluice: Sluice, upstream: Upstream, key: str):
    upstream.answers(embeddings_answer(2))
    answer = ask(sluice, key, path="/v1/embeddings", model="text-embedding-3-small", input=["a", "b"])
    assert cost_of(sluice, answer) == (6 * Decimal("0.02") / 1_000_000, "genai-prices")


def test_a_stream_without_usage_costs_an_estimate_that_says_so(sluice: Sluice, upstream: Upstream, key: str):
    upstream.answers(chat_stream(["four" * 25], usage_shape="none"))
    answer = ask(sluice, key, stream=True, messages=[{"role": "user", "content": "x" * 4000}])
    row = shown_row_of(sluice, answer)
    assert (row["usage_source"], row["completion_tokens"], row["price_source"]) == ("estimated", 25, "genai-prices")
    assert 1000 <= row["prompt_tokens"] < 1020
    cost = (row["prompt_tokens"] * Decimal("0.4") + 25 * Decimal("1.6")) / 1_000_000
    assert Decimal(row["cost_usd"]) == cost


def test_an_estimate_takes_no_picture_for_text(sluice: Sluice, upstream: Upstream, key: str):
    upstream.answers(chat_stream(usage_shape="none"))
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}
    sound = {"type": "input_audio", "input_audio": {"data": "B" * 400_000, "format": "wav"}}
    answer = ask(sluice, key, stream=True, messages=[{"role": "user", "content": [picture, sound]}])
    assert shown_row_of(sluice, answer)["prompt_tokens"] < 100


def test_a_model_that_nobody_has_a_price_for_has_an_unknown_cost(sluice: Sluice, upstream: Upstream, key: str):
    assert cost_of(sluice, ask(sluice, key, model="nobody-knows-this")) == (None, "unknown")


def test_what_no_provider_was_asked_for_and_what_one_refused_cost_nothing(sluice: Sluice, upstream: Upstream, key: str):
    upstream.answers(error_answer(429))
    assert cost_of(sluice, ask(sluice, key)) == (0, "")
    assert cost_of(sluice, ask(sluice, "sk-sluice-wrong")) == (0, "")
    assert cost_of(sluice, ask(sluice, key, path="/v1/models", method="GET")) == (0, "")


def test_an_answer_without_usage_costs_an_estimate_that_says_so(sluice: Sluice, upstream: Upstream, key: str):
    upstream.answers(chat_answer("four" * 25, usage={}))
    row = shown_row_of(sluice, ask(sluice, key))
    assert (row["usage_source"], row["completion_tokens"], row["price_source"]) == ("estimated", 25, "genai-prices")


def test_an_answer_that_nobody_can_count_has_an_unknown_cost(sluice: Sluice, upstream: Upstream, key: str):
    upstream.answers(json_answer({"results": []}))
    row = shown_row_of(sluice, ask(sluice, key, path="/v1/moderations"))
    assert (row["cost_usd"], row["usage_source"], row["price_source"]) == (None, "", "genai-prices")


def test_a_client_that_left_pays_what_was_made_for_it(sluice: Sluice, upstream: Upstream, key: str):
    script = list(chat_stream(["four"] * 10))
    upstream.answers([*script[:8], WaitFor(threading.Event()), *script[8:]])
    body = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with sluice.client(key).stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_bytes())
    row = shown_row_of(sluice, answer)
    assert (row["outcome"], row["usage_source"]) == ("client_closed", "estimated")
    assert Decimal(row["cost_usd"]) > 0


def test_a_stored_response_is_paid_when_it_is_made_and_not_when_it_is_read(
    sluice: Sluice, upstream: Upstream, key: str
):
    usage = response_usage(1000, 200)
    upstream.answers(responses_answer(usage=usage), responses_answer(usage=usage))
    made = ask(sluice, key, path="/v1/responses", input="hi")
    assert cost_of(sluice, made)[0] == (1000 * Decimal("0.4") + 200 * Decimal("1.6")) / 1_000_000
    read = shown_row_of(sluice, ask(sluice, key, path=f"/v1/responses/{made.json()['id']}", method="GET"))
    assert (read["cost_usd"], read["prompt_tokens"]) == ("0.000000000000", None)


def test_audio_and_what_is_written_to_the_cache_are_priced_apart(sluice: Sluice, upstream: Upstream, key: str):
    price = {"model": "speaks", "input": "1", "output": "2", "audio_input": "10", "audio_output": "20"}
    assert sluice.api("POST", "/api/prices", json={**price, "cache_write": "1.25", "per_request": "0.5"}).is_success
    usage = usage_of(
        1000, 100,
        prompt_tokens_details={"audio_tokens": 300, "cache_write_tokens": 200},
        completion_tokens_details={"audio_tokens": 60},
    )  # fmt: skip
    expected = Decimal("0.5") + (500 + 3000 + Decimal(250) + 80 + 1200) / 1_000_000

    def costs_that() -> bool:
        upstream.answers(chat_answer(usage=usage))
        return cost_of(sluice, ask(sluice, key, model="speaks")) == (expected, "override")

    soon(costs_that)


def test_a_change_of_price_is_in_force_at_once(sluice: Sluice, upstream: Upstream, key: str):
    def cost() -> Any:
        return cost_of(sluice, ask(sluice, key, model="changes"))

    assert cost() == (None, "unknown")
    made = sluice.api("POST", "/api/prices", json={"model": "changes", "input": "1", "output": "0"})
    soon(lambda: cost() == (Decimal("0.000009"), "override"))
    sluice.manage("prices", "set", "--model", "changes", "--input", "2")
    soon(lambda: cost() == (Decimal("0.000018"), "override"))
    sluice.api("DELETE", f"/api/prices/{made.json()['id']}")
    soon(lambda: cost() == (None, "unknown"))


def test_the_price_is_that_of_the_providers_own_name(sluice: Sluice, upstream: Upstream, key: str):
    add_provider(sluice, upstream.url, "groq", {"quick": "llama-3.3-70b-versatile"})
    upstream.answers(chat_answer("", usage=usage_of(1_000_000, 0)))
    answer = client_of(sluice).post(
        "/v1/chat/completions", json={"model": "quick", "messages": [{"role": "user", "content": "hi"}]}
    )
    assert cost_of(sluice, answer) == (Decimal("0.59"), "genai-prices")


def test_the_simulator_costs_nothing_and_says_so(sluice: Sluice, key: str):
    made = sluice.api("POST", "/api/providers", json={"name": "sim", "kind": "simulator", "models": ["simulator"]})
    assert made.is_success
    soon(lambda: ask(sluice, key, path="/v1/models/simulator", method="GET").status_code == 200)
    for stream in (False, True):
        assert cost_of(sluice, ask(sluice, key, model="simulator", stream=stream)) == (0, "simulator")
