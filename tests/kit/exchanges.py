"""Exchanges and what steps need beside them, without a server: `exchange_of("POST", "/v1/files", key=key_of(...))`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgspec
from django.conf import settings

from keys.limits import Scope
from keys.records import KeyRecord, ProjectRecord
from keys.rules import Rules
from providers.catalog import Catalog, ProviderRecord, record_of
from providers.models import Provider
from proxy.bounds import Bounds
from proxy.configuration.snapshot import Snapshot
from proxy.exchange import Exchange
from proxy.steps.body import is_json
from proxy.steps.read import peek_model, read_json
from proxy.steps.receive import receive
from proxy.wire.jsonbody import JSONBody, NotAnObject
from tests.kit.scopes import scope
from usage.prices.book import Prices
from usage.prices.override import PriceOverride

JSON, FORM = (b"content-type", b"application/json"), (b"content-type", b"multipart/form-data; boundary=B")
BUDGET = scope(budget=1)


async def nothing(*_: Any) -> Any:
    raise AssertionError("no step but the first and the last knows the wire")


def exchange_of(
    method: str = "POST",
    path: str = "/v1/chat/completions",
    body: dict[str, Any] | bytes | None = None,
    *headers: tuple[bytes, bytes],
    query: bytes = b"",
    bounds: Bounds | None = None,
    **known: Any,
) -> Exchange:
    """An exchange after the step receive. A body in JSON has been read too. `known` are attributes to set on it."""
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    lines = [*headers] or [JSON] * isinstance(body, dict)
    if raw is not None:
        lines.append((b"content-length", str(len(raw)).encode()))
    told = {"method": method, "path": path, "raw_path": path.encode(), "query_string": query, "headers": lines}
    exchange = Exchange({"type": "http", "client": ("10.0.0.1", 5000), **told}, nothing, nothing)
    receive(exchange)
    bounds = bounds or Bounds.from_settings(settings)
    exchange.request_bytes = len(raw or b"")
    if raw is not None and exchange.endpoint.reads_body:
        read_json(exchange, JSONBody(raw), bounds)
    elif raw is not None and is_json(exchange, bounds):
        exchange.passed_body = raw
        with suppress(NotAnObject):
            peek_model(exchange, JSONBody(raw))
    for name, value in known.items():
        setattr(exchange, name, value)
    return exchange


def key_of(*models: str, scopes: tuple[Scope, ...] = (), **fields: Any) -> KeyRecord:
    """The record of a key that may use these models, or all models if none are named."""
    made = KeyRecord(
        *(1, "k", "abcdefGHI012", b"", b"", 1, None, None),
        is_active=True,
        is_revoked=False,
        expires_at=None,
        grace_until=None,
        exact_models=frozenset(model for model in models if "*" not in model),
        model_globs=tuple(model for model in models if "*" in model),
        upstream_alias="",
        tags=(),
        scopes=scopes,
        tier=None,
        is_bound=bool(models) or any(each.limits.budget is not None for each in scopes),
    )
    return msgspec.structs.replace(made, **fields)


def project_of(**fields: Any) -> ProjectRecord:
    return ProjectRecord(**{"id": 1, "name": "p", "is_active": True, "upstream_alias": "", **fields})


def rules_of(**said: Any) -> Rules:
    return Rules(**{"params": {}, "origins": [], "headers": {}, "methods": [], "paths": [], **said})


def provider_of(name: str = "openai", **fields: Any) -> ProviderRecord:
    """The record of a provider. It takes every model, unless `model_map={...}` is given."""
    row = {"pk": 1, "kind": "openai", "base_url": "https://llm.example/v1", **fields}
    return record_of(Provider(name=name, **row))


def override_of(model: str = "m", provider: str = "", **usd: object) -> Any:
    """A compiled price, in USD for a million tokens or for the unit of the field."""
    rates = {name: Decimal(str(value)) for name, value in {"input": 0, "output": 0, **usd}.items()}
    return PriceOverride(pk=1, provider=provider, model=model, **rates).compile()


def snapshot_of(*everybody: Scope, providers: Sequence[ProviderRecord] = (), prices: Sequence[Any] = ()) -> Snapshot:
    """A snapshot with these providers and prices. `everybody` are the scopes that apply to all requests."""
    snapshot = Snapshot()
    snapshot.catalog, snapshot.prices = Catalog(tuple(providers)), Prices(prices)
    snapshot.global_scopes = everybody
    snapshot.everyone_is_bound = any(each.limits.budget is not None for each in everybody)
    return snapshot
