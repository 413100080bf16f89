"""Step 1: check the path, the method and the head, and find the endpoint."""

from __future__ import annotations

import re

from proxy.endpoints import READ, READ_RAW, READING, UNKNOWN, Endpoint, allowed_methods, find_endpoint
from proxy.errors import BadRequest, MethodNotAllowed, refusal_of
from proxy.exchange import Exchange
from proxy.steps.azure_paths import AZURE, put_under_v1
from proxy.steps.paths import canonical_path, check_names_no_endpoint

_SAFE_TARGET = re.compile(r"[!-~]*")


def receive(exchange: Exchange) -> None:
    """Set the endpoint and its dialect.

    Raises `BadRequest`, `RequestTimeout`, `HeadTooLarge`, `NotFound`, `MethodNotAllowed`.
    """
    exchange.endpoint = UNKNOWN
    if fault := exchange.head.fault:
        raise refusal_of(fault)
    exchange.endpoint = endpoint = locate(exchange)
    exchange.dialect = endpoint.dialect


def locate(exchange: Exchange) -> Endpoint:
    """The endpoint. Sets `path` to the canonical path, `rest` to what follows `/v1` in it, and `query`.

    Raises `BadRequest`, `NotFound`, `MethodNotAllowed`.
    """
    if query := exchange.scope["query_string"]:
        exchange.query = query.decode("latin-1")
        if not _SAFE_TARGET.fullmatch(exchange.query):
            raise BadRequest(
                "invalid_query", "The query string has characters that a URL cannot have; percent-encode them."
            )
    raw: bytes = exchange.scope.get("raw_path") or exchange.path.encode()
    method = exchange.method
    if method == "POST" and (endpoint := READ_RAW.get(raw)):
        exchange.rest = exchange.path[3:]
        return endpoint
    if exchange.path.startswith(AZURE):
        raw = put_under_v1(exchange, raw)
        if method == "POST" and (endpoint := READ_RAW.get(raw)):
            exchange.path = endpoint.label
            exchange.rest = exchange.path[3:]
            return endpoint
    is_listing = method in ("GET", "HEAD") and raw.startswith(b"/v1/models/")
    exchange.path = path = canonical_path(raw.decode("latin-1"), slash_in_name=is_listing)
    exchange.rest = path[3:]
    if method not in READING and path not in READ:
        check_names_no_endpoint(path)
    allowed = allowed_methods(path)
    if allowed is not None and method not in allowed:
        raise MethodNotAllowed(
            "method_not_allowed",
            f"{path} does not take {method}.",
            headers=[(b"allow", ", ".join(sorted(allowed)).encode())],
        )
    return find_endpoint(method, path)
