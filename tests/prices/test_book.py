"""F105: overrides go before list prices; what is looked up is remembered, within bounds."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from usage.prices.book import KEPT, Prices
from usage.prices.override import PriceOverride

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW = NOON.timestamp()
MINI = "gpt-4.1-mini"


def override(model: str, price: int, provider: str = "", pk: int = 1, **fields: Any) -> Any:
    return PriceOverride(
        pk=pk, provider=provider, model=model, input=Decimal(price), output=Decimal(0), **fields
    ).compile()


def price_of(
    prices: Prices, model: str = MINI, provider: str = "openai", kind: str = "openai", now: float = NOW
) -> Any:
    price = prices.price_of(provider, kind, "", model, now)
    return price and (price.base.input, price.source)


def test_an_override_goes_before_the_list_price():
    assert price_of(Prices()) == (400_000, "genai-prices")
    assert price_of(Prices([override(MINI, 7)])) == (7_000_000, "override")
    assert price_of(Prices([override("other", 7)])) == (400_000, "genai-prices")


# The stronger one comes second.
@pytest.mark.parametrize(
    "weaker,stronger",
    [
        (("gpt-4.1-mini", ""), ("*", "openai")),
        (("gpt-4.1-*", "openai"), ("gpt-4.1-mini", "openai")),
        (("gpt-*", ""), ("gpt-4.1-*", "")),
    ],
)
def test_the_more_exact_override_counts_whatever_their_order(weaker, stronger):
    both = [override(weaker[0], 1, weaker[1], 1), override(stronger[0], 2, stronger[1], 2)]
    assert price_of(Prices(both)) == price_of(Prices(both[::-1])) == (2_000_000, "override")


def test_another_providers_override_does_not_count():
    assert price_of(Prices([override(MINI, 7, "azure-eu")])) == (400_000, "genai-prices")


def test_a_price_begins_when_it_says_also_for_a_model_that_is_remembered():
    later = datetime(2026, 11, 20, 13, tzinfo=UTC)
    prices = Prices([override(MINI, 1), override(MINI, 2, pk=2, valid_from=later)])
    assert price_of(prices) == (1_000_000, "override")
    assert price_of(prices, now=later.timestamp() - 0.001) == (1_000_000, "override")
    assert price_of(prices, now=later.timestamp()) == (2_000_000, "override")


def test_an_unknown_model_has_no_price_rather_than_a_price_of_nothing():
    assert price_of(Prices(), "nobody-knows-this") is None
    assert price_of(Prices(), MINI, provider="my-vllm") is None


def test_the_simulator_costs_nothing_unless_an_operator_says_so():
    assert price_of(Prices(), "simulator", "simulator", "simulator") == (0, "simulator")
    assert price_of(Prices([override("simulator", 3)]), "simulator", "simulator", "simulator") == (
        3_000_000,
        "override",
    )


def test_names_that_clients_make_up_do_not_fill_the_memory():
    prices = Prices([override("*", 1)])
    for number in range(KEPT + 500):
        prices.price_of("openai", "openai", "", f"made-up-{number}", NOW)
    assert len(prices._listed) == KEPT
