"""A client for each server, its connections kept alive between the tests; and names for requests."""

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
    """The same client for all of a server's tests, its connections kept alive between them."""
    if sluice not in _clients:
        _clients[sluice] = sluice.client(key_of(sluice), headers={"accept-encoding": "gzip, br"})
    return _clients[sluice]


def new_id() -> str:
    """For the header X-Correlation-ID, by which `row_of` finds a request that got no answer."""
    return f"test-{secrets.token_hex(8)}"


def named(correlation_id: str) -> dict[str, str]:
    return {"x-correlation-id": correlation_id}
