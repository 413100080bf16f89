"""Lists the models of providers that accept every model name: only these providers know which models they have."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from providers.catalog import Catalog, ProviderRecord
from proxy.bounds import MAX_MODEL_CHARS
from proxy.upstream.client import Upstream
from proxy.wire.jsonbody import decoded

log = logging.getLogger("sluice.models")

FRESH_S = 60.0
AGAIN_AFTER_S = 5.0
"""Pause after a provider did not list its models, or did not tell of one."""

WAIT_S = 5.0
MAX_LISTING_BYTES = 4 * 1024 * 1024
REQUESTS_AT_ONCE = 4
"""Requests for single models that a process makes at once: any key may ask for any name, and no limit counts that."""

KEPT = 1000

Members = Mapping[str, msgspec.Raw]
"""The members of a provider's description of a model, by name, with values as the provider wrote them."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_entries = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)


class NotListed(Exception):
    """The provider's answer is no list of models. The message says why."""


class _Listing(NamedTuple):
    models: dict[str, Members]
    until: float


class _Single(NamedTuple):
    members: Members | None
    until: float


class OpenModels:
    """Asks each such provider for its list once in `FRESH_S`, or in `AGAIN_AFTER_S` after a failure. The models of a
    provider that does not answer are missing.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._listings: dict[str, _Listing] = {}
        self._asking: dict[str, asyncio.Task[dict[str, Members]]] = {}
        self._singles: OrderedDict[tuple[str, str], _Single] = OrderedDict()
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def models(self, catalog: Catalog) -> dict[str, tuple[str, Members]]:
        """The models by the clients' names, sorted: the provider that comes first for each, and its description."""
        models: dict[str, tuple[str, Members]] = {name: (owner, {}) for name, owner in catalog.model_names()}
        providers = [provider for provider in catalog.providers if provider.takes_every_model and provider.weight]
        listings = await asyncio.gather(*(self._models_of(catalog, provider) for provider in providers))
        for provider, listing in zip(providers, listings, strict=True):
            for name, members in listing.items():
                models.setdefault(name, (provider.name, members))
        return dict(sorted(models.items()))

    async def single(self, catalog: Catalog, provider: ProviderRecord, name: str) -> Members | None:
        """The provider's description of a model that it does not list; None if it answers 404 for this name.

        A provider that cannot tell (it fails, or answers with another status) is believed to have the model, because a
        chat would be sent to it.
        """
        place = provider.name, name
        entry = self._singles.get(place)
        if entry is None or entry.until <= time.monotonic():
            async with self._turns:
                entry = await self._ask_single(catalog, provider, name)
            self._singles[place] = entry
            self._singles.move_to_end(place)
            if len(self._singles) > KEPT:
                self._singles.popitem(last=False)
        return entry.members

    async def _models_of(self, catalog: Catalog, provider: ProviderRecord) -> dict[str, Members]:
        listing = self._listings.get(provider.name)
        if listing is not None and listing.until > time.monotonic():
            return listing.models
        task = self._asking.get(provider.name)
        if task is None:
            task = self._asking[provider.name] = asyncio.create_task(self._ask(catalog, provider))
            task.add_done_callback(lambda _: self._asking.pop(provider.name, None))
        return await asyncio.shield(task)

    async def _ask(self, catalog: Catalog, provider: ProviderRecord) -> dict[str, Members]:
        models: dict[str, Members] = {}
        holds_s = AGAIN_AFTER_S
        try:
            async with asyncio.timeout(WAIT_S):
                status, raw = await self._fetch(catalog, provider, "/models")
            if status != 200:
                raise NotListed(f"it answered {status}")
            models = dict(read_listing(raw))
            holds_s = FRESH_S
        except Exception as error:  # whatever one provider does, the others are listed
            reason = str(error) if isinstance(error, NotListed) else type(error).__name__
            log.warning("Provider %s does not list its models: %s", provider.name, reason)
        self._listings[provider.name] = _Listing(models, time.monotonic() + holds_s)
        return models

    async def _ask_single(self, catalog: Catalog, provider: ProviderRecord, name: str) -> _Single:
        members: Members | None = {}
        holds_s = AGAIN_AFTER_S
        try:
            async with asyncio.timeout(WAIT_S):
                status, raw = await self._fetch(catalog, provider, f"/models/{quote(name)}")
            if status == 404:
                members = None
            elif status == 200:
                members = read_members(raw) or {}
                holds_s = FRESH_S
        except Exception as error:
            log.warning("Provider %s does not tell of a model: %s", provider.name, type(error).__name__)
        return _Single(members, time.monotonic() + holds_s)

    async def _fetch(self, catalog: Catalog, provider: ProviderRecord, rest: str) -> tuple[int, bytes]:
        lines = b"accept: application/json\r\naccept-encoding: identity\r\n" + catalog.access(provider, "").lines
        path = provider.kind.path(provider.base_path, rest, "", "", provider.options)
        answer = await self._upstream.send(provider, "GET", path, lines, b"")
        try:
            raw = b""
            while piece := await answer.read():
                raw += piece
                if len(raw) > MAX_LISTING_BYTES:
                    raise NotListed(f"more than {MAX_LISTING_BYTES:,} bytes came")
            return answer.status, raw
        finally:
            answer.abort()


def read_listing(raw: bytes) -> Iterator[tuple[str, Members]]:
    """The models of an answer: OpenAI's list, a bare array, or a list called `models`. Raises `NotListed`.

    An entry that cannot be read is left out.
    """
    start = raw.removeprefix(b"\xef\xbb\xbf").lstrip()
    try:
        if not start.startswith(b"["):
            around = decoded(_members, start)
            start = bytes(around.get("data") or around.get("models") or b"")
        entries = decoded(_entries, start)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise NotListed("its answer is no list of models") from None
    for entry in entries:
        members = read_members(bytes(entry))
        name = read_text(members.get("id") or members.get("name")) if members is not None else read_text(entry)
        if name and len(name) <= MAX_MODEL_CHARS and name.isprintable():
            yield name, members or {}


def read_members(raw: bytes) -> Members | None:
    """The members of an object. None if it is no object, or not UTF-8, which would make Sluice's list unreadable."""
    try:
        raw.decode()
        return decoded(_members, raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def read_text(raw: msgspec.Raw | None) -> str:
    try:
        return decoded(_text, bytes(raw)) if raw is not None else ""
    except (msgspec.MsgspecError, ValueError):
        return ""
