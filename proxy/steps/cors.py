"""CORS (https://fetch.spec.whatwg.org/#http-cors-protocol), for the origins that projects allow (F14).

A preflight has no key, so it is answered for the origins of any active project. The request that follows has a key, and
is checked against the origins of its own project (`authorize.py`).
"""

from __future__ import annotations

import re

from keys.rules import OriginRefused
from proxy.configuration.origins import AnyOrigin
from proxy.endpoints import UNKNOWN
from proxy.exchange import Exchange
from proxy.steps import respond

REMEMBERED_S = 600
METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,4096}")


def is_preflight(exchange: Exchange) -> bool:
    headers = exchange.head.fields
    return b"origin" in headers and b"access-control-request-method" in headers


async def answer_preflight(exchange: Exchange, allowed: AnyOrigin | None) -> None:
    """Answer 204 with the methods and headers that a browser may send. Raises `OriginRefused`."""
    exchange.endpoint = UNKNOWN
    origin = exchange.head.fields[b"origin"]
    if allowed is None or not allowed.allow(origin):
        raise OriginRefused(origin.decode("latin-1"))
    exchange.cors_origin = origin
    lines = b"access-control-allow-methods: %s\r\naccess-control-max-age: %d\r\n" % (METHODS, REMEMBERED_S)
    lines += b"vary: Access-Control-Request-Headers\r\n"
    wanted = exchange.head.fields.get(b"access-control-request-headers", b"")
    if _NAMES.fullmatch(wanted):
        lines += b"access-control-allow-headers: %s\r\n" % wanted
    await respond.start(exchange, 204, lines)
    await respond.end(exchange)


def own_origin(exchange: Exchange, allowed: AnyOrigin) -> bytes:
    """The page's origin if the page may read the answer; empty if not."""
    origin = exchange.head.fields.get(b"origin")
    return origin if origin is not None and allowed.allow(origin) else b""
