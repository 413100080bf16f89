"""Step 7, its second half: the answer goes to the client.

Three ways, by what the provider sends: a plain object that Sluice reads (whole, so that a cut one becomes an error and
not half a JSON), a stream of events (`stream.py`, frame by frame), and everything else (piece by piece, unread).
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable

import msgspec

from proxy import respond
from proxy.ask import ask
from proxy.connection import ConnectionFailed
from proxy.endpoints import OPAQUE
from proxy.errors import ClientGone, UpstreamError, error_body, reason_phrase
from proxy.exchange import Exchange
from proxy.jsonbody import NotAnObject
from proxy.parts import Parts
from proxy.passed import passed_lines, secret_of
from proxy.stream import relay_stream
from proxy.uncounted import complete_count, estimate_part
from proxy.upstream import Answer
from proxy.watch import Watch

MAX_READ_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 1024 * 1024
_WINDOW_BITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
TRY_AGAIN = b"retry-after: 1\r\n"
"""For a provider that has no room and does not say until when."""
Way = Callable[[Exchange, Answer, Parts, Watch], Awaitable[None]]
_any_json = msgspec.json.Decoder(msgspec.Raw)


async def relay(exchange: Exchange, parts: Parts, watch: Watch) -> None:
    """Ask the provider and hand its answer on. Raises `BadRequest`, and `UpstreamError` also in mid-answer."""
    answer = await ask(exchange, parts, watch)
    try:
        await way_of(exchange, answer)(exchange, answer, parts, watch)
    except (ConnectionFailed, ConnectionResetError) as error:
        code = error.code if isinstance(error, ConnectionFailed) else "upstream_disconnected"
        raise UpstreamError(code, str(error) or "The provider closed the connection too soon.") from error
    finally:
        answer.abort()


def way_of(exchange: Exchange, answer: Answer) -> Way:
    if answer.status >= 400:
        return relay_error
    encoded = streamed = False
    for name, value in answer.headers:
        if name == b"content-type":
            streamed = value[:17].lower() == b"text/event-stream"
        elif name == b"content-encoding":
            encoded = value.lower() != b"identity"
    if exchange.dialect is OPAQUE or encoded or answer.status == 204 or exchange.method == "HEAD":
        return relay_unread
    return relay_stream if streamed else relay_object


async def relay_object(exchange: Exchange, answer: Answer, parts: Parts, watch: Watch) -> None:
    """A plain answer that Sluice reads."""
    pieces: list[bytes] = []
    try:
        raw = await read_whole(exchange, answer, parts, watch, MAX_READ_ANSWER_BYTES, pieces)
    except asyncio.CancelledError:
        if isinstance(watch.reason, ClientGone):
            await estimate_part(exchange, pieces)
        raise
    if raw is None:
        raise UpstreamError(
            "upstream_too_large", f"The provider's answer is larger than {MAX_READ_ANSWER_BYTES:,} bytes."
        )
    try:
        raw = exchange.dialect.read_answer(exchange, raw)
    except NotAnObject:
        raise UpstreamError("upstream_invalid_response", "The provider's answer is not a JSON object.") from None
    parts.origins.remember_for(exchange)
    usage = exchange.usage
    is_error = usage is None and exchange.outcome == "upstream_error"  # of which nobody counts anything
    if not is_error and (usage is None or not usage.completion or not usage.prompt):
        await complete_count(exchange, raw)
    await respond.send_whole(exchange, answer.status, passed_lines(exchange, answer), raw)


async def relay_error(exchange: Exchange, answer: Answer, parts: Parts, watch: Watch) -> None:
    """The provider's refusal: its status and its own words, where they are JSON, without the credential in them."""
    raw = plain(answer, await read_whole(exchange, answer, parts, watch, MAX_ERROR_BYTES, []))
    exchange.outcome = "upstream_error"
    exchange.error_code = f"upstream_{answer.status}"
    lines = passed_lines(exchange, answer, without=(b"content-encoding",))
    if raw and (secret := secret_of(exchange)):
        raw = raw.replace(secret, b"[credential]")
    if not raw or not _is_json(raw):
        message = f"The provider answered {answer.status} {reason_phrase(answer.status)}."
        raw = error_body(message, "upstream_error", None, exchange.error_code)
        lines = passed_lines(exchange, answer, without=(b"content-type", b"content-encoding")) + respond.JSON
    if answer.status in (429, 503) and all(name != b"retry-after" for name, _ in answer.headers):
        lines += TRY_AGAIN
    await respond.send_whole(exchange, answer.status, lines, raw)


async def relay_unread(exchange: Exchange, answer: Answer, parts: Parts, watch: Watch) -> None:
    """Whatever it is, as it comes. When it breaks off, so does the answer: no byte is made up to complete it."""
    lines = passed_lines(exchange, answer)
    length = next((value for name, value in answer.headers if name == b"content-length"), None)
    if length is not None:
        lines += b"content-length: %s\r\n" % length
    piece = await answer.read()
    exchange.first_byte_at = time.monotonic()
    exchange.passed_unread = True
    await respond.start(exchange, answer.status, lines)
    bounds = parts.bounds
    while piece:
        watch.relax()
        await respond.send_piece(exchange, piece)
        watch.expect(bounds.idle_s, bounds.stream_idle)
        piece = await answer.read()
    exchange.upstream_done_at = time.monotonic()
    await respond.end(exchange)


async def read_whole(
    exchange: Exchange, answer: Answer, parts: Parts, watch: Watch, most: int, pieces: list[bytes]
) -> bytes | None:
    """The whole body; None when it is larger than `most`. `pieces` takes what comes of it, for who is interrupted."""
    whole = answer.rest()
    if whole is not None:
        exchange.first_byte_at = exchange.upstream_done_at = time.monotonic()
        watch.relax()
        return whole
    assert exchange.sent_at is not None
    watch.expect(0, parts.bounds.answer_late)
    watch.deadline = exchange.sent_at + parts.bounds.answer_s
    whole = await answer.read()
    exchange.first_byte_at = time.monotonic()
    pieces.append(whole)
    if rest := await answer.read():
        pieces.append(rest)
        size = len(whole) + len(rest)
        while rest := await answer.read():
            pieces.append(rest)
            size += len(rest)
            if size > most:
                return None
        whole = b"".join(pieces)
    exchange.upstream_done_at = time.monotonic()
    watch.relax()
    return whole


def plain(answer: Answer, raw: bytes | None) -> bytes | None:
    """A small answer as it was before it was compressed; None where that cannot be undone here, or is large."""
    encoding = next((value.lower() for name, value in answer.headers if name == b"content-encoding"), b"identity")
    if raw is None or encoding == b"identity":
        return raw
    if encoding not in _WINDOW_BITS:
        return None
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        whole = inflater.decompress(raw, MAX_ERROR_BYTES)
    except zlib.error:
        return None
    return whole if inflater.eof else None


def _is_json(raw: bytes) -> bool:
    try:
        _any_json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
