"""The prices of a model at all providers that may answer, for one snapshot. They are cached for a second."""

from __future__ import annotations

from typing import NamedTuple

from providers.catalog import Catalog, NoProvider
from proxy.configuration.snapshot import Snapshot
from proxy.exchange import Exchange
from usage.prices.book import Prices
from usage.prices.price import Price

MODELS_KEPT = 1_000
PRICES_KEPT_S = 1.0
"""For estimates, in which a price that changes at midnight may be a second late."""


class ModelPrices(NamedTuple):
    """The prices of a model at the providers that may answer, for one snapshot."""

    catalog: Catalog
    prices: Prices
    until: float
    per_provider: tuple[Price, ...]
    are_all_known: bool


_prices: dict[str, ModelPrices] = {}


def prices_of(exchange: Exchange, snapshot: Snapshot) -> ModelPrices:
    """The prices of the model that the request names."""
    entry = _prices.get(exchange.model)
    if (
        entry is None
        or entry.catalog is not snapshot.catalog
        or entry.prices is not snapshot.prices
        or exchange.started_at >= entry.until
    ):
        entry = _look_up(exchange, snapshot)
    return entry


def _look_up(exchange: Exchange, snapshot: Snapshot) -> ModelPrices:
    prices, now = snapshot.prices, exchange.started_at
    try:
        candidates = snapshot.catalog.candidates(exchange.model)
    except NoProvider:
        return ModelPrices(snapshot.catalog, prices, 0, (), False)  # not kept: clients choose the names
    all_prices = [
        prices.price_of(provider.name, provider.kind.name, provider.base_url, model, now)
        for provider, model in candidates
    ]
    per_provider = tuple(price for price in all_prices if price is not None)
    entry = ModelPrices(
        snapshot.catalog, prices, now + PRICES_KEPT_S, per_provider, len(per_provider) == len(all_prices) > 0
    )
    if len(_prices) >= MODELS_KEPT:
        _prices.clear()
    _prices[exchange.model] = entry
    return entry
