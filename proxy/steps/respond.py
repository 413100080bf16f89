"""Send answers to the client, as ASGI messages or directly through Sluice's own server."""

from __future__ import annotations

import time

from providers.kinds.base import header_lines, read_lines
from proxy.errors import ClientGone, ProxyError
from proxy.exchange import Exchange
from proxy.shapes import body_of
from proxy.wire.pieces import Pieces
from proxy.wire.rate_headers import rate_lines

JSON = b"content-type: application/json\r\n"
EXPOSED = (
    b"x-request-id, x-correlation-id, x-upstream-request-id, x-provider, x-cache, x-cache-key, x-cache-hit, age, "
    b"cache-status, server-timing, retry-after, x-should-retry, x-ratelimit-reset, "
    b"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    b"x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "
    b"x-ratelimit-limit-rpm, x-ratelimit-remaining-rpm, x-ratelimit-limit-tpm, x-ratelimit-remaining-tpm"
)


def own_lines(exchange: Exchange) -> bytes:
    """The headers that Sluice adds to every answer, as lines."""
    now = time.monotonic()
    request_id = exchange.request_id.encode()
    total_ms = (now - exchange.t0) * 1000
    attempt = exchange.attempt
    if attempt is None or (sent_at := attempt.sent_at) is None:
        lines = b"x-request-id: %s\r\nserver-timing: sluice;dur=%.2f\r\n" % (request_id, total_ms)
    else:
        upstream_ms = ((attempt.done_at or attempt.first_byte_at or now) - sent_at) * 1000
        lines = b"x-request-id: %s\r\nx-provider: %s\r\nserver-timing: sluice;dur=%.2f, upstream;dur=%.2f\r\n" % (
            request_id,
            attempt.provider.label,
            total_ms - upstream_ms,
            upstream_ms,
        )
    if exchange.cache:
        lines += b"x-cache: %s\r\n%s" % (exchange.cache.encode(), exchange.cache_lines)
    if exchange.cors_origin:  # lets a page of this origin read the answer
        lines += b"access-control-allow-origin: %s\r\naccess-control-expose-headers: %s\r\nvary: Origin\r\n" % (
            exchange.cors_origin,
            EXPOSED,
        )
    if correlation_id := exchange.head.correlation_id:
        lines += b"x-correlation-id: %s\r\n" % correlation_id.encode("latin-1", "replace")
    return lines if exchange.reservation is None else lines + rate_lines(*exchange.reservation.rates)


async def tell(exchange: Exchange, message: dict[str, object]) -> None:
    """Send an ASGI message. Raises `ClientGone` if the server says at once that the client left.

    Other servers say it only to `receive` (`server/deadlines.py`).
    """
    try:
        await exchange.send(message)
    except OSError:
        client_is_gone(exchange)


def client_is_gone(exchange: Exchange) -> None:
    """Raises `ClientGone`, unless others read the answer, or all of it is there: then it is read on, and stored."""
    call = exchange.shared_call
    if call is None or not (call.is_needed or call.is_over):
        raise ClientGone from None
    exchange.client_left = True


async def start(exchange: Exchange, status: int, lines: bytes) -> None:
    """Send the head of an answer: these header lines, and Sluice's own."""
    exchange.status = status
    exchange.answer_started = True
    if exchange.capture is not None:
        exchange.capture.lines = lines
    headers = read_lines(lines + own_lines(exchange))
    await tell(exchange, {"type": "http.response.start", "status": status, "headers": headers})


async def send_piece(exchange: Exchange, piece: bytes) -> None:
    exchange.response_bytes += len(piece)
    if exchange.capture is not None:
        exchange.capture.take_answer(piece)
    await tell(exchange, {"type": "http.response.body", "body": piece, "more_body": True})


async def end(exchange: Exchange, piece: bytes = b"") -> None:
    exchange.response_bytes += len(piece)
    if exchange.capture is not None:
        exchange.capture.take_answer(piece)
    exchange.answer_ended = True
    await tell(exchange, {"type": "http.response.body", "body": piece, "more_body": False})


async def send_whole(exchange: Exchange, status: int, lines: bytes, body: bytes) -> None:
    """Send an answer whose whole body is known."""
    if exchange.call is None:
        await start(exchange, status, b"%scontent-length: %d\r\n" % (lines, len(body)))
        await end(exchange, body)
        return
    exchange.status = status
    exchange.response_bytes += len(body)
    if exchange.capture is not None:
        exchange.capture.lines = lines
        exchange.capture.take_answer(body)
    exchange.answer_started = exchange.answer_ended = True
    try:
        exchange.call.answer(status, lines + own_lines(exchange), body)
    except OSError:
        client_is_gone(exchange)


async def send_pieces(exchange: Exchange, status: int, lines: bytes, body: Pieces) -> None:
    """Send a long answer, no faster than the client takes it. If its head was sent already, only the body is sent."""
    if not exchange.answer_started:
        await start(exchange, status, b"%scontent-length: %d\r\n" % (lines, len(body)))
    pending = b""  # the last piece leaves together with the end: the event must be in the journal before it
    async for piece in body:
        if pending:
            await send_piece(exchange, pending)
        pending = piece
    await end(exchange, pending)


async def send_error(exchange: Exchange, error: ProxyError) -> None:
    await send_whole(exchange, error.status, JSON + header_lines(error.headers), body_of(exchange.path, error))
