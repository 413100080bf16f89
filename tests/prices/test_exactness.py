"""F105: a cost is tokens times price, to the last pico-dollar."""

from __future__ import annotations

from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from usage.prices.override import PriceOverride
from usage.prices.price import MOST_PICOUSD, Price, Rates, rate, usd

prices = st.decimals(min_value=0, max_value=10_000, places=6)
tokens = st.integers(min_value=0, max_value=2_000_000)
KINDS = ("input", "output", "cached_input", "cache_write", "reasoning", "audio_input", "audio_output")


@given(st.fixed_dictionaries(dict.fromkeys(KINDS, prices)), st.lists(tokens, min_size=7, max_size=7), prices)
def test_a_cost_is_the_sum_of_tokens_times_their_price(said, counts, per_request):
    cached, written, heard, text_in, thought, spoken, text_out = counts
    price = PriceOverride(model="m", per_request=per_request, **said).compile().price
    cost = price.cost(
        cached + written + heard + text_in, thought + spoken + text_out, cached, thought, heard, spoken, written
    )
    with localcontext(prec=60):
        expected = per_request + (
            text_in * said["input"] + text_out * said["output"] + cached * said["cached_input"]
            + written * said["cache_write"] + thought * said["reasoning"] + heard * said["audio_input"]
            + spoken * said["audio_output"]
        ) / 1_000_000  # fmt: skip
        assert cost is not None
        assert usd(cost) == expected


@given(prices, prices, tokens, tokens, st.lists(tokens, min_size=5, max_size=5))
def test_no_token_is_charged_twice_whatever_a_provider_counts(into, out, prompt, completion, parts):
    flat = Price("x", Rates(rate(into), rate(out), rate(into), rate(into), rate(out), rate(into), rate(out)))
    assert flat.cost(prompt, completion, *parts) == prompt * rate(into) + completion * rate(out)


@given(prices, prices, tokens, tokens, tokens, tokens)
def test_an_estimate_is_never_less_than_the_cost_of_text(into, out, prompt, completion, cached, reasoning):
    price = PriceOverride(model="m", input=into, output=out, cached_input=into / 2, reasoning=out * 2).compile().price
    cost, estimate = price.cost(prompt, completion, cached, reasoning), price.estimate(prompt, completion)
    assert cost is not None
    assert estimate is not None
    assert cost <= estimate


def test_what_a_price_leaves_out_costs_what_it_is_a_part_of():
    price = PriceOverride(model="m", input=Decimal(2), output=Decimal(8)).compile().price
    assert price.cost(10, 10, cached=5, reasoning=5, audio_in=2, audio_out=1, cache_write=1) == (20 + 80) * 10**6


def test_tokens_that_nobody_has_a_price_for_make_the_cost_unknown():
    embedding = Price("x", Rates(5, None, 5, 5, None, 5, None))
    assert embedding.cost(10, None) == embedding.cost(10, 0) == 50
    assert embedding.cost(10, 1) is None
    assert (embedding.estimate(10, 0), embedding.estimate(10, 1)) == (50, None)
    assert embedding.cost(None, 3) is None


def test_a_cost_that_no_row_can_hold_is_unknown():
    price = Price("x", Rates(*[10**6] * 7))
    assert price.cost(2**53, 0) is None
    assert price.estimate(2**53, 0) == MOST_PICOUSD


def test_more_than_six_decimals_are_rounded_up_and_binary_noise_is_taken_off():
    assert rate(Decimal("0.0833333333333333")) == 83_334
    assert rate(Decimal("0.18000000000000002")) == 180_000
    assert rate(Decimal("0.13999999999999999")) == 140_000
