"""The models of providers that take every name: only they themselves can list them."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import NamedTuple

import msgspec

from providers.catalog import Catalog, CredentialUnavailable, ProviderRecord
from proxy.connection import ConnectionFailed
from proxy.upstream import Upstream

log = logging.getLogger("sluice.models")

FRESH_S = 60.0
AGAIN_AFTER_S = 5.0
"""After a provider did not list its models."""

WAIT_S = 5.0
MAX_LISTING_BYTES = 4 * 1024 * 1024


class _Model(msgspec.Struct):
    id: str


class _Listing(msgspec.Struct):
    data: list[_Model]


_listing = msgspec.json.Decoder(_Listing)


class _Known(NamedTuple):
    names: list[str]
    until: float


class OpenModels:
    """Asks each such provider at most once a minute. One that does not answer is missing from the list."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[list[str]]] = {}

    async def names(self, catalog: Catalog) -> list[tuple[str, str]]:
        """Every client-side name with the provider that comes first for it, sorted."""
        names = dict(catalog.model_names())
        providers = [provider for provider in catalog.providers if provider.takes_every_model and provider.weight]
        listings = await asyncio.gather(*(self._names_of(catalog, provider) for provider in providers))
        for provider, listing in zip(providers, listings, strict=True):
            for name in listing:
                names.setdefault(name, provider.name)
        return sorted(names.items())

    async def _names_of(self, catalog: Catalog, provider: ProviderRecord) -> list[str]:
        known = self._known.get(provider.name)
        if known is not None and known.until > time.monotonic():
            return known.names
        task = self._asking.get(provider.name)
        if task is None:
            task = self._asking[provider.name] = asyncio.create_task(self._ask(catalog, provider))
            task.add_done_callback(lambda _: self._asking.pop(provider.name, None))
        return await asyncio.shield(task)

    async def _ask(self, catalog: Catalog, provider: ProviderRecord) -> list[str]:
        names: list[str] = []
        holds_s = AGAIN_AFTER_S
        try:
            async with asyncio.timeout(WAIT_S):
                names = await self._fetch(catalog, provider)
                holds_s = FRESH_S
        except (
            ConnectionFailed,
            ConnectionResetError,
            CredentialUnavailable,
            TimeoutError,
            msgspec.MsgspecError,
        ) as error:
            log.warning("Provider %s does not list its models: %s", provider.name, type(error).__name__)
        self._known[provider.name] = _Known(names, time.monotonic() + holds_s)
        return names

    async def _fetch(self, catalog: Catalog, provider: ProviderRecord) -> list[str]:
        lines = b"accept: application/json\r\naccept-encoding: identity\r\n" + catalog.access(provider, "").lines
        path = provider.kind.path(provider.base_path, "/models", "", "", provider.options)
        answer = await self._upstream.send(provider, "GET", path, lines, b"")
        try:
            raw = b""
            while piece := await answer.read():
                raw += piece
                if len(raw) > MAX_LISTING_BYTES:
                    return []
            return [model.id for model in _listing.decode(raw).data] if answer.status == 200 else []
        finally:
            answer.abort()
