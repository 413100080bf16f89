"""List prices from the genai-prices package, as it was installed. Nothing is ever fetched.

The package can update itself over the network (`UpdatePrices`), which is never started here. It is imported when the
first price is looked up or `load` is called. Its 2,300 models take a fifth of a second and 26 MB, which a gateway that
has only the simulator does not need.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from usage.prices.price import Price, Rates, picousd, rate

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

SOURCE = "genai-prices"
VENDOR_KINDS = frozenset({"azure", "anthropic"})
"""Kinds that mean one vendor, whatever their base URL is. Other vendors speak OpenAI's API as well."""

FOREVER = float("inf")


class Listed(NamedTuple):
    """A price, and the time until which it is valid, in Unix seconds."""

    price: Price | None
    until: float


@cache
def load() -> dict[str, Provider]:
    """Return the package's providers by id. The first call is slow, so it is not for the event loop."""
    from genai_prices.data_snapshot import get_snapshot

    return {provider.id: provider for provider in get_snapshot().providers}


def listed_price(name: str, kind: str, base_url: str, model: str, now: float) -> Listed:
    """Return the list price of a provider's model at `now` (Unix seconds)."""
    vendor = vendor_of(name, kind, base_url)
    info = vendor.find_model(model, all_providers=list(load().values())) if vendor and model else None
    if info is None:
        return Listed(None, FOREVER)
    moment = datetime.fromtimestamp(now, UTC)
    return Listed(compile_price(info.get_prices(moment), info.context_window), next_change(info, moment))


def vendor_of(name: str, kind: str, base_url: str) -> Provider | None:
    """Return the vendor whose prices a provider has, found by its address, else its kind, else its name.

    The name counts if it is a vendor's id, so that a provider `openai` behind a company's own proxy has OpenAI's
    prices. A name that only contains an id does not count: a local server `openai-compatible` may cost nothing.
    """
    vendors = load()
    for vendor in vendors.values():
        if base_url and re.match(vendor.api_pattern, base_url):
            return vendor
    if kind in VENDOR_KINDS:
        return vendors.get(kind)
    return vendors.get(name.lower())


def compile_price(prices: ModelPrice, window: int | None = None) -> Price:
    """Compile the package's decimals to a `Price`."""
    values = {key: value for key, value in vars(prices).items() if value is not None}
    starts = sorted({tier.start for value in values.values() for tier in getattr(value, "tiers", ())}, reverse=True)
    requests = values.get("requests_kcount")
    per_request = picousd(at(requests, 0) / 1000) if requests is not None else 0
    return Price(
        SOURCE,
        rates_at(values, 0),
        tuple((start, rates_at(values, start + 1)) for start in starts),
        per_request,
        window,
        per_character=by_unit(values, ("input_mchars",), 1_000_000),
        per_second=by_unit(values, ("input_audio_hours", "audio_hours"), 3_600),
    )


def by_unit(values: dict[str, Any], names: tuple[str, ...], units: int) -> int | None:
    """Return the pico-dollars of one unit, from a price for `units` of them; None if there is no such price."""
    amounts = [at(values[name], 0) for name in names if name in values]
    return picousd(amounts[0] / units) if amounts else None


def rates_at(values: dict[str, Any], prompt: int) -> Rates:
    """Return the rates for a prompt of so many tokens.

    Tokens without a price of their own cost what other tokens of the prompt or completion cost.
    """
    into, out, cached, written, thought, heard, spoken, picture_in, drawn = (
        rate(at(values[key], prompt)) if key in values else None
        for key in (
            "input_mtok",
            "output_mtok",
            "cache_read_mtok",
            "cache_write_mtok",
            "output_reasoning_mtok",
            "input_audio_mtok",
            "output_audio_mtok",
            "input_image_mtok",
            "output_image_mtok",
        )
    )
    return Rates(
        input=into,
        output=out,
        cached=into if cached is None else cached,
        cache_write=into if written is None else written,
        reasoning=out if thought is None else thought,
        audio_in=into if heard is None else heard,
        audio_out=out if spoken is None else spoken,
        picture_in=into if picture_in is None else picture_in,
        picture_out=out if drawn is None else drawn,
    )


def at(value: Any, prompt: int) -> Decimal:
    """Return a plain price as it is; of a tiered price, that of the highest tier that the prompt exceeds."""
    if isinstance(value, Decimal):
        return value
    amount: Decimal = value.base
    for tier in value.tiers:  # in ascending order
        if prompt > tier.start:
            amount = tier.price
    return amount


def next_change(model: ModelInfo, moment: datetime) -> float:
    """Return when another of the model's prices may begin, in Unix seconds.

    The package limits prices to dates, or to hours of the day.
    """
    if not isinstance(model.prices, list):
        return FOREVER
    today = datetime.combine(moment.date(), time(), UTC)
    changes = []
    for constraint in (priced.constraint for priced in model.prices):
        if (start := getattr(constraint, "start_date", None)) is not None:
            changes.append(datetime.combine(start, time(), UTC))
        for name in ("start_time", "end_time"):
            if (hour := getattr(constraint, name, None)) is not None:
                at_hour = datetime.combine(today, hour, hour.tzinfo or UTC)
                changes += [at_hour + timedelta(days=days) for days in (-1, 0, 1)]
    return min((change.timestamp() for change in changes if change > moment), default=FOREVER)
