"""Answers to the client: the one place that speaks ASGI's sending side."""

from __future__ import annotations

import time

from proxy.errors import ClientGone, ProxyError
from proxy.exchange import Exchange, Headers

JSON = (b"content-type", b"application/json")


def own_headers(exchange: Exchange) -> Headers:
    """The headers that Sluice adds to every answer."""
    now = time.monotonic()
    headers: Headers = [(b"x-request-id", exchange.request_id.encode())]
    if exchange.correlation_id:
        headers.append((b"x-correlation-id", exchange.correlation_id.encode("latin-1", "replace")))
    if exchange.cache:
        headers.append((b"x-cache", exchange.cache.encode()))
    if exchange.candidate is not None:
        headers.append((b"x-provider", exchange.candidate.provider.name.encode()))
    total_ms = (now - exchange.t0) * 1000
    if exchange.sent_at is not None:
        until = exchange.upstream_done_at or exchange.first_byte_at or now
        upstream_ms = (until - exchange.sent_at) * 1000
        headers.append(
            (b"server-timing", b"sluice;dur=%.2f, upstream;dur=%.2f" % (total_ms - upstream_ms, upstream_ms))
        )
    else:
        headers.append((b"server-timing", b"sluice;dur=%.2f" % total_ms))
    standing = exchange.reservation.standing if exchange.reservation is not None else None
    if standing is not None:
        headers += standing.headers()
    return headers


async def tell(exchange: Exchange, message: dict[str, object]) -> None:
    """Raises `ClientGone`, from servers that say so at once; others say it to who listens (`watch.py`)."""
    try:
        await exchange.send(message)
    except OSError:
        raise ClientGone from None


async def start(exchange: Exchange, status: int, headers: Headers) -> None:
    exchange.status = status
    exchange.answer_started = True
    await tell(exchange, {"type": "http.response.start", "status": status, "headers": headers})


async def send_piece(exchange: Exchange, piece: bytes) -> None:
    exchange.response_bytes += len(piece)
    await tell(exchange, {"type": "http.response.body", "body": piece, "more_body": True})


async def end(exchange: Exchange, piece: bytes = b"") -> None:
    exchange.response_bytes += len(piece)
    exchange.answer_ended = True
    await tell(exchange, {"type": "http.response.body", "body": piece, "more_body": False})


async def send_whole(exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
    """An answer whose body is all there."""
    await start(exchange, status, [*headers, (b"content-length", b"%d" % len(body)), *own_headers(exchange)])
    await end(exchange, body)


async def send_error(exchange: Exchange, error: ProxyError) -> None:
    await send_whole(exchange, error.status, [JSON, *error.headers], error.body())
