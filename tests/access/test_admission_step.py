"""X96: what a request asks of its limits, and which limits these are, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from msgspec.structs import astuple

from keys.limits import Ask, Baseline, LimitExceeded, Limits, MemoryLimits, Need, Scope
from keys.records import TierRecord
from proxy.admission import admit
from proxy.admission.admit import (
    GUESSED_MOST_OUTPUT,
    Admission,
    address_scope,
    applying,
    ask_of,
    cost_at_most,
    guessed_output,
    most_read,
    most_unlimited_output,
)
from proxy.admission.baselines import Baselines
from proxy.admission.estimate import MOST_TOKENS
from proxy.admission.prompt import Prompt, read_prompt
from proxy.dialects.words import OPENAI
from proxy.exchange import Exchange
from tests.kit.exchanges import FORM, exchange_of, key_of, override_of, project_of, provider_of, snapshot_of
from tests.kit.scopes import scope
from usage.prices.price import Price, Rates

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
EMBEDDING = {"model": "m", "input": ["a", "b", "c"]}
MILLION = 10**6
NOBODY = applying(())


@pytest.mark.parametrize(
    "limits, guess",
    [
        ([], 1000),
        ([4000], 1000),
        ([3999], 999),
        ([4001], 1000),
        ([4999], 1000),
        ([100, 4000], 25),
        ([4000, 100], 25),
        ([0], 0),
    ],
)
def test_a_guess_is_no_more_than_a_quarter_of_a_minute(limits: list[int], guess: int):
    assert guessed_output(limits) == guess


@pytest.mark.parametrize(
    "scopes, counts",
    [
        ((), False),
        ((scope(rpm=1), scope(parallel=1)), False),
        ((scope(rpm=1), scope(tpm=0)), True),
        ((scope(budget=0),), True),
    ],
)
def test_tokens_are_counted_where_a_limit_is_about_them(scopes: tuple[Scope, ...], counts: bool):
    assert applying(scopes).counts_tokens is counts
    assert applying((scope(tpm=100), scope(tpm=40))).guessed_output == 10


# --- what it asks for ------------------------------------------------------------------------------------------
def ask(exchange: Exchange, *providers: Any, prices: Any = (), tpm: int = 40) -> Ask:
    snapshot = snapshot_of(providers=providers or (provider_of(),), prices=prices)
    exchange.started_at += 60 * next(_serial)  # prices are remembered for a second
    return ask_of(exchange, applying((scope(tpm=tpm),)), snapshot, read_prompt(exchange.body, OPENAI))


_serial = iter(range(1, 1000))
PRICES = (override_of("m", input=2, output=10),)


def test_a_request_with_a_limit_asks_for_what_it_costs_at_most():
    exchange = exchange_of(body={**CHAT, "max_tokens": 50, "n": 2})
    prompt = read_prompt(exchange.body, OPENAI)
    assert prompt.tokens is not None
    assert prompt.most is not None
    assert ask(exchange, prices=PRICES) == Ask(
        1, prompt.tokens + 100, (2 * prompt.most + 10 * 100) * MILLION, bounded=True
    )
    assert exchange.reserved_tokens == prompt.tokens + 100


def test_a_request_without_one_asks_for_a_guess_of_tokens_and_the_most_of_money():
    exchange = exchange_of(body=CHAT)
    prompt = read_prompt(exchange.body, OPENAI)
    cost = (2 * (prompt.most or 0) + 10 * GUESSED_MOST_OUTPUT) * MILLION
    assert ask(exchange, prices=PRICES) == Ask(1, (prompt.tokens or 0) + 10, cost, bounded=False)


def test_a_price_that_nobody_knows_has_no_bound():
    exchange = exchange_of(body={**CHAT, "model": "of no price", "max_tokens": 5})
    asking = ask(exchange)
    assert (asking.cost, asking.bounded) == (None, False)


def test_what_cannot_all_be_seen_has_no_bound():
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example"}}]}]
    asking = ask(exchange_of(body={**CHAT, "messages": picture, "max_tokens": 5}), prices=PRICES)
    assert asking.cost == (2 * 1_048_576 + 10 * 5) * MILLION
    assert not asking.bounded


def test_embeddings_answer_nothing_and_each_input_is_one():
    exchange = exchange_of("POST", "/v1/embeddings", EMBEDDING, counts_as=3)
    asking = ask(exchange, prices=PRICES)
    assert (asking.requests, asking.bounded) == (3, True)
    assert asking.tokens == read_prompt(exchange.body, OPENAI).tokens
    assert asking.cost == 2 * (read_prompt(exchange.body, OPENAI).most or 0) * MILLION


def test_a_body_that_is_passed_unread_has_no_cost_and_a_form_of_media_has_one():
    assert ask(exchange_of("POST", "/v1/files", None, FORM), prices=PRICES) == Ask(1, 10, None)
    painting = exchange_of("POST", "/v1/images/edits", None, FORM, model="m")
    by_number = override_of(per_image="0.5")
    assert ask(painting, prices=(by_number,)) == Ask(1, 10, 10 * 5 * 10**11)
    dearer = provider_of("other")
    both = by_number, override_of(provider="other", per_image="0.6")
    assert ask(painting, provider_of(), dearer, prices=both).cost == 10 * 6 * 10**11


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_providers_the_dearest_counts(order: int):
    providers = [provider_of(), provider_of("dear"), provider_of("free", kind="simulator", base_url="")][::order]
    prices = (override_of("m", input=1, output=1), override_of("m", "dear", input=1, output=7))
    snapshot = snapshot_of(providers=providers, prices=prices)
    exchange = exchange_of(body=CHAT, started_at=5e9 + order * 60)
    assert cost_at_most(exchange, snapshot, Prompt(10, 10), 100) == (10 + 700) * MILLION
    exchange.model = "of no price"
    assert cost_at_most(exchange, snapshot, Prompt(10, 10), 100) == 0, "the one that is known"


def price(window: int | None) -> Price:
    return Price("", Rates(1, 1, 1, 1, 1, 1, 1), window=window)


@pytest.mark.parametrize(
    "body, counts_as, prompt, window, most",
    [
        (CHAT, 1, Prompt(5, 7), 100, 7),
        (CHAT, 1, Prompt(5, 0), 100, 0),
        (CHAT, 1, Prompt(5, None), 100, 100),
        (CHAT, 1, Prompt(500, None), 100, 500),
        (CHAT, 1, Prompt(None, None), None, 1_048_576),
        (CHAT, 3, Prompt(5, None), 100, 300),
        ({"model": "m", "prompt": ["a", "b"]}, 1, Prompt(5, None), 100, 200),
        (CHAT, 10_000, Prompt(5, None), None, MOST_TOKENS),
    ],
)
def test_a_model_reads_its_window_of_each_prompt_at_most(
    body: Any, counts_as: int, prompt: Prompt, window: int | None, most: int
):
    path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
    assert most_read(exchange_of("POST", path, body, counts_as=counts_as), prompt, price(window)) == most


@pytest.mark.parametrize(
    "more, window, most",
    [
        ({}, None, 131_072),
        ({}, 100, 100),
        ({}, 10**6, 131_072),
        ({"n": 3}, 100, 300),
        ({"n": 10**6}, None, MOST_TOKENS),
    ],
)
def test_a_model_says_its_window_for_each_answer_at_most(more: dict[str, int], window: int | None, most: int):
    assert most_unlimited_output(exchange_of(body={**CHAT, **more}), price(window)) == most


# --- who is asked ----------------------------------------------------------------------------------------------
class NoBaselines:
    """Of a ledger that is empty."""

    def __init__(self, limits: MemoryLimits) -> None:
        self.limits = limits

    async def load(self, needs: Sequence[Need], timeout_s: float | None) -> None:
        for need in needs:
            self.limits.load(need, Baseline())


class Door:
    """An admission over the limits of a process."""

    def __init__(self, of_address: Limits = Limits()) -> None:  # noqa: B008 (frozen)
        limits = MemoryLimits()
        self.admission = Admission(limits, cast(Baselines, NoBaselines(limits)), of_address)

    def admits(self, exchange: Exchange, *everybody: Scope, snapshot: Any = None) -> bool:
        try:
            asyncio.run(self.admission.admit(exchange, snapshot or snapshot_of(*everybody)))
        except LimitExceeded:
            assert not exchange.admitted
            return False
        assert exchange.admitted
        return True


def test_each_scope_that_applies_is_asked():
    everybody = scope("global", "everybody", rpm=3)
    snapshot = snapshot_of(everybody)
    door = Door()
    key, project = key_of(scopes=(scope(rpm=1),)), project_of(scope=scope("project", rpm=1))
    assert door.admits(exchange_of(body=CHAT, key=key, project=project), snapshot=snapshot)
    assert not door.admits(exchange_of(body=CHAT, key=key, project=project), snapshot=snapshot)
    other = project_of(scope=None)
    assert door.admits(exchange_of(body=CHAT, key=None, project=project), snapshot=snapshot), (
        "without a key, the project's"
    )
    assert not door.admits(exchange_of(body=CHAT, key=None, project=project), snapshot=snapshot)
    assert door.admits(exchange_of(body=CHAT, key=None, project=other), snapshot=snapshot)
    assert not door.admits(exchange_of(body=CHAT, key=None, project=other), snapshot=snapshot)
    assert not door.admits(exchange_of(body=CHAT), snapshot=snapshot), "nor without either"


def test_what_is_limited_by_nobody_reserves_nothing():
    exchange = exchange_of(body=CHAT, key=key_of())
    assert Door().admits(exchange)
    assert exchange.reservation is None


def test_a_change_of_a_key_or_of_everybodys_limits_counts_with_the_next_request():
    door = Door()
    for limits, admitted in ((scope(rpm=1), True), (scope(rpm=1), False), (scope(rpm=2), True)):
        assert door.admits(exchange_of(body=CHAT, key=key_of(scopes=(limits,)))) is admitted
    key = key_of()
    for everybody, admitted in ((scope("global", rpm=1), True), (scope("global", rpm=1), False)):
        assert door.admits(exchange_of(body=CHAT, key=key), everybody) is admitted
    assert door.admits(exchange_of(body=CHAT, key=key))


def test_what_applies_is_remembered_of_a_number_of_keys(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(admit, "KEPT", 3)
    door = Door()
    keys = [key_of(scopes=(scope(id_=str(number), rpm=1),)) for number in range(5)]
    for admitted in (True, False):
        for key in keys:
            assert door.admits(exchange_of(body=CHAT, key=key)) is admitted
            assert len(door.admission._applying) <= 3


def test_an_address_is_limited_by_itself_whoever_asks():
    door = Door(Limits(rpm=2))
    first, second = key_of(), key_of()
    assert [door.admits(exchange_of(body=CHAT, key=key)) for key in (first, second, first)] == [True, True, False]
    elsewhere = exchange_of(body=CHAT, key=first)
    elsewhere.scope["client"] = ("10.0.0.2", 5000)
    assert door.admits(elsewhere)
    nowhere = exchange_of(body=CHAT, key=first)
    nowhere.scope["client"] = None
    assert door.admits(nowhere)
    assert astuple(address_scope("h", Limits(rpm=1))) == ("address", "h", "address h", Limits(rpm=1))


def test_embeddings_have_a_quota_of_the_owners_tier_for_each_input():
    tier = TierRecord(1, "free", 4, "byok")
    key = key_of(owner_id=7, tier=tier)
    exchange = exchange_of("POST", "/v1/embeddings", EMBEDDING, key=key)
    applies = Door().admission._applying_to(exchange, snapshot_of())
    assert [(each.kind, each.id, each.limits.daily) for each in applies.scopes] == [("tier", "7", 4)]
    chat = exchange_of(body=CHAT, key=key)
    door = Door()
    assert door.admission._applying_to(exchange, snapshot_of()).scopes
    assert door.admission._applying_to(chat, snapshot_of()) == NOBODY, "of the same key, and about something else"


def test_tokens_of_a_minute_are_what_the_request_asked_for():
    key = key_of(scopes=(scope(tpm=100),))
    door = Door()
    exchange = exchange_of(body={**CHAT, "max_tokens": 60}, key=key)
    assert door.admits(exchange)
    assert exchange.reservation is not None
    assert 60 < exchange.reservation.ask.tokens < 100
    assert exchange.reservation.ask.tokens == exchange.reserved_tokens
    assert not door.admits(exchange_of(body={**CHAT, "max_tokens": 60}, key=key))
    exchange.reservation.settle(10)
    assert door.admits(exchange_of(body={**CHAT, "max_tokens": 60}, key=key))


def test_a_long_prompt_is_counted_as_a_short_one_is():
    long = {**CHAT, "messages": [{"role": "user", "content": "x" * 300_000}]}
    exchange = exchange_of(body=long, key=key_of(scopes=(scope(tpm=10**6),)))
    assert Door().admits(exchange)
    assert exchange.reserved_tokens == (read_prompt(exchange.body, OPENAI).tokens or 0) + 1000


@pytest.mark.parametrize("tokens", [{}, {"tpm": 10**6}])
def test_a_batch_of_embeddings_is_as_many_requests_as_it_has_inputs(tokens: dict[str, Any]):
    door, key = Door(), key_of(scopes=(scope(max_requests=7, **tokens),))
    three = [exchange_of("POST", "/v1/embeddings", EMBEDDING, key=key) for _ in range(3)]
    assert [door.admits(exchange) for exchange in three] == [True, True, False]
    assert [exchange.counts_as for exchange in three] == [3, 3, 3]
    assert three[0].reservation is not None
    assert three[0].reservation.ask.requests == 3
    two = exchange_of("POST", "/v1/embeddings", {**EMBEDDING, "input": ["a", "b"]}, key=key)
    assert not door.admits(two)
    chats = [door.admits(exchange_of(body={**CHAT, "input": ["a", "b"]}, key=key)) for _ in range(2)]
    assert chats == [True, False], "of anything else each is one"


def test_a_tiers_quota_is_of_embeddings_alone():
    key = key_of(owner_id=7, tier=TierRecord(1, "free", 4, "byok"))
    door = Door()
    said = [door.admits(exchange_of("POST", "/v1/embeddings", EMBEDDING, key=key)) for _ in range(2)]
    assert said == [True, False]
    assert door.admits(exchange_of(body=CHAT, key=key))
