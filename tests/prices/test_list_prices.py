"""F105: prices of the genai-prices package: whose they are, tiers, dates, and that nothing is fetched."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices.types import ModelPrice, StartDateConstraint, Tier, TieredPrices, Usage

from tests.kit.environment import ROOT
from usage.prices.listed import compile_price, listed_price, load, next_change, vendor_of

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    "name,kind,base_url,vendor",
    [
        ("any", "openai", OPENAI, "openai"),
        ("any", "openai", "https://api.groq.com/openai/v1", "groq"),
        ("openai", "openai", "http://127.0.0.1:9/v1", "openai"),
        ("any", "azure", "https://proxy.example.org/openai", "azure"),
        ("any", "azure", "https://name.openai.azure.com/openai", "azure"),
        ("openai", "openai", "https://api.groq.com/openai/v1", "groq"),
        ("openai-compatible", "openai", "http://10.0.0.1/v1", None),
        ("vllm", "openai", "", None),
    ],
)
def test_whose_prices_a_provider_has(name, kind, base_url, vendor):
    found = vendor_of(name, kind, base_url)
    assert (found.id if found else None) == vendor


def test_a_dated_name_of_a_model_has_its_models_price():
    price = listed_price("openai", "openai", OPENAI, "gpt-4.1-mini-2025-04-14", NOON).price
    assert price is not None
    assert (price.cost(1000, 100), price.cost(1000, 100, cached=400)) == (560_000_000, 440_000_000)
    assert price.source == "genai-prices"


@pytest.mark.parametrize("model", ["", "nobody-knows-this", "simulator", "x" * 200])
def test_a_model_that_is_not_listed_has_no_price(model):
    assert listed_price("openai", "openai", OPENAI, model, NOON).price is None


def test_a_long_prompt_costs_its_tier_all_of_it():
    price = compile_price(
        ModelPrice(
            input_mtok=TieredPrices(base=Decimal(3), tiers=[Tier(200, Decimal(6)), Tier(1000, Decimal(7))]),
            output_mtok=TieredPrices(base=Decimal(15), tiers=[Tier(500, Decimal(20))]),
            cache_read_mtok=Decimal("0.3"),
        )
    )
    costs = [price.cost(prompt, 1) for prompt in (200, 201, 501, 1001)]
    assert costs == [(600 + 15) * 10**6, (1206 + 15) * 10**6, (3006 + 20) * 10**6, (7007 + 20) * 10**6]
    assert price.cost(300, 0, cached=100) == (200 * 6 + 30) * 10**6


def test_a_price_for_each_request_is_in_it():
    price = compile_price(ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(5)))
    assert price.cost(1, 1) == 5 * 10**9 + 2 * 10**6


@pytest.mark.parametrize("vendor", ["openai", "azure", "groq", "mistral", "anthropic", "google"])
@pytest.mark.parametrize("prompt", [10, 1_000_000])
def test_every_listed_model_costs_what_the_package_says(vendor, prompt):
    """The package is the oracle: the same counts, in its own decimals."""
    moment, compared = datetime.fromtimestamp(NOON, UTC), 0
    for model in load()[vendor].models:
        prices = model.get_prices(moment)
        cost = compile_price(prices).cost(prompt, 300, cached=4)
        try:
            said = prices.calc_price(Usage(input_tokens=prompt, output_tokens=300, cache_read_tokens=4))
        except ValueError:
            continue
        if cost is not None:
            compared += 1
            assert cost == int(said["total_price"] * 10**12), model.id
    assert compared > 5


def test_a_price_by_the_hour_is_looked_up_again_when_it_changes():
    deepseek = load()["deepseek"]
    model = next(model for model in deepseek.models if model.id == "deepseek-chat")
    morning = datetime(2026, 11, 20, 0, 10, tzinfo=UTC)
    change = next_change(model, morning)
    assert change == datetime(2026, 11, 20, 0, 30, tzinfo=UTC).timestamp()
    before = listed_price("deepseek", "openai", "", "deepseek-chat", morning.timestamp())
    after = listed_price("deepseek", "openai", "", "deepseek-chat", change)
    assert before.until == change < after.until
    assert before.price is not None
    assert after.price is not None
    assert before.price.cost(1, 1) != after.price.cost(1, 1)


def test_a_price_that_begins_on_a_day_begins_with_it_in_utc():
    dated = [
        (provider, model, priced.constraint.start_date)
        for provider in load().values()
        for model in provider.models
        if isinstance(model.prices, list) and len(model.prices) == 2
        for priced in model.prices
        if isinstance(priced.constraint, StartDateConstraint)
    ]
    provider, model, start = dated[0]
    midnight = datetime(start.year, start.month, start.day, tzinfo=UTC).timestamp()
    before = datetime.fromtimestamp(midnight - 1, UTC)
    assert next_change(model, before) == midnight
    assert model.get_prices(before) != model.get_prices(datetime.fromtimestamp(midnight, UTC)), provider.id


def test_looking_prices_up_opens_no_socket_and_starts_no_thread():
    code = """
import socket, threading
def refuse(*args, **kwargs): raise AssertionError("a socket was opened")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from usage.prices.listed import listed_price
found = listed_price("openai", "openai", "https://api.openai.com/v1", "gpt-4.1-mini", 1.8e9)
print(found.price.cost(1000, 0), threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["400000000", "1"], done.stderr


def test_nothing_of_ours_starts_the_packages_updates():
    sources = [path.read_text() for folder in ("usage", "proxy", "config") for path in (ROOT / folder).rglob("*.py")]
    assert not any(re.search(r"UpdatePrices\(|set_custom_snapshot|import .*UpdatePrices", text) for text in sources)
