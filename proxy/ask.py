"""Step 7, its first half: the request goes to the provider."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from proxy import hygiene
from proxy.authorize import authorized_upload
from proxy.connection import ConnectionFailed
from proxy.errors import BadRequest, UpstreamError
from proxy.exchange import Exchange, Headers
from proxy.parts import Parts
from proxy.receive import has_body, upload_pieces
from proxy.upstream import Answer
from proxy.watch import Watch

JSON_TYPE = (b"content-type", b"application/json")
UNCOMPRESSED = (b"accept-encoding", b"identity")


async def ask(exchange: Exchange, parts: Parts, watch: Watch) -> Answer:
    """Send the request and wait for the head of the answer. Raises `UpstreamError`, `BadRequest`."""
    assert exchange.candidate is not None
    provider, model = exchange.candidate
    exchange.attempts += 1
    headers = hygiene.upward(exchange.headers)
    headers += parts.snapshot.catalog.auth_headers(provider, exchange.credential)
    headers += provider.extra_headers
    body = request_body(exchange, parts, watch, headers)
    path = provider.kind.path(provider.base_path, exchange.rest, exchange.query, model, provider.options)
    exchange.sent_at = time.monotonic()
    bounds = parts.bounds
    watch.expect(min(bounds.first_byte_s, bounds.answer_s), bounds.first_byte_late)
    try:
        return await parts.upstream.send(provider, exchange.method, path, headers, body)
    except ConnectionFailed as error:
        raise UpstreamError(error.code, str(error)) from error
    except ValueError as error:
        raise BadRequest("invalid_header", "A header of the request has a value that cannot be sent on.") from error


def request_body(exchange: Exchange, parts: Parts, watch: Watch, headers: Headers) -> bytes | AsyncIterator[bytes]:
    """The body for the provider; adds the headers that frame it."""
    assert exchange.candidate is not None
    if exchange.body is not None:
        body = exchange.body
        if exchange.endpoint.reads_body:
            exchange.dialect.prepare(exchange, body)
            headers.append(UNCOMPRESSED)
            if b"content-type" not in exchange.header_map:
                headers.append(JSON_TYPE)
        if exchange.names_put_back:
            body.set("model", exchange.candidate.model)
        whole = body.encode()
    elif exchange.passed_body is not None:
        whole = exchange.passed_body
    elif has_body(exchange):
        length = exchange.header_map.get(b"content-length")
        headers.append((b"content-length", length) if length else (b"transfer-encoding", b"chunked"))
        pass_encoding(exchange, headers)
        return authorized_upload(exchange, upload_pieces(exchange, parts.bounds, watch))
    else:
        whole = b""
    if not exchange.endpoint.reads_body:
        pass_encoding(exchange, headers)
    if whole or exchange.method not in ("GET", "HEAD", "DELETE", "OPTIONS"):
        headers.append((b"content-length", b"%d" % len(whole)))
    return whole


def pass_encoding(exchange: Exchange, headers: Headers) -> None:
    """What Sluice does not read may come compressed, if the client likes it so."""
    accepted = exchange.header_map.get(b"accept-encoding")
    if accepted is not None:
        headers.append((b"accept-encoding", accepted))
