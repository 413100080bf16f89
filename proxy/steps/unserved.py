"""Refuse a model that no provider has. This comes before admission, so such a request uses up nothing of any limit."""

from __future__ import annotations

from providers.catalog import Catalog
from proxy.exchange import Exchange


def refuse_unserved(exchange: Exchange, catalog: Catalog) -> None:
    """Raises `NoProvider`."""
    if exchange.model and exchange.endpoint.reads_body:
        catalog.candidates(exchange.model)
