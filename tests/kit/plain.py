"""HTTP to the servers under test: httpx without certificates, because reading them takes each client 24 ms of CPU."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

TIMEOUT_S = 20.0
UNENCRYPTED: dict[str, Any] = {
    "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    "trust_env": False,
    "timeout": TIMEOUT_S,
}


def client(**options: Any) -> httpx.Client:
    return httpx.Client(**{**UNENCRYPTED, **options})


def request(method: str, url: str, **options: Any) -> httpx.Response:
    """One request on a connection of its own, so that any worker may get it."""
    return httpx.request(method, url, **{**UNENCRYPTED, **options})


def get(url: str, **options: Any) -> httpx.Response:
    return request("GET", url, **options)


def post(url: str, **options: Any) -> httpx.Response:
    return request("POST", url, **options)
