"""One client and one key for each server, and correlation ids for requests."""

from __future__ import annotations

import secrets
from weakref import WeakKeyDictionary

import httpx

from tests.kit.sluice import Sluice

_keys: WeakKeyDictionary[Sluice, str] = WeakKeyDictionary()
_clients: WeakKeyDictionary[Sluice, httpx.Client] = WeakKeyDictionary()


def key_of(sluice: Sluice) -> str:
    if sluice not in _keys:
        _keys[sluice] = sluice.mint()
    return _keys[sluice]


def client_of(sluice: Sluice) -> httpx.Client:
    """The server's client. All its tests share it, so connections stay open between them."""
    if sluice not in _clients:
        _clients[sluice] = sluice.client(key_of(sluice), headers={"accept-encoding": "gzip, br"})
    return _clients[sluice]


def new_id() -> str:
    """A new correlation id. `row_of` finds the row of a request by it, also if the request got no answer."""
    return f"test-{secrets.token_hex(8)}"


def named(correlation_id: str) -> dict[str, str]:
    return {"x-correlation-id": correlation_id}
