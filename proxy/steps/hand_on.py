"""Step 8: send the answer to the client, in the client's dialect.

There are three ways, depending on what the provider sends. A plain object that Sluice reads is read whole, so that one
that breaks off becomes an error and not half a JSON object. A stream of events is relayed frame by frame (`stream.py`).
Everything else is relayed piece by piece, unread. If the client asked for a stream, or the answer is labelled as one,
the first bytes decide what it is (`first_bytes.py`), because servers mislabel their streams.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from math import inf

import msgspec

from proxy.admission.bound import needs_metering
from proxy.admission.uncounted import complete_count, estimate_part, finish_estimate
from proxy.components import Components
from proxy.dialects.base import ESTIMATED, Usage
from proxy.endpoints import EMBEDDINGS, OPAQUE, STORED_RESPONSE
from proxy.errors import ClientGone, UpstreamError, reason_phrase
from proxy.exchange import Exchange
from proxy.heavy.jobs import HEAVY_BYTES
from proxy.server.deadlines import RequestDeadline
from proxy.steps import conditional, respond
from proxy.steps.facts import read_answer
from proxy.steps.first_bytes import look
from proxy.steps.heartbeat import HOLD_S
from proxy.steps.lists import relay_list
from proxy.steps.long_answer import relay_long
from proxy.steps.passed_headers import UNBUFFERED, passed_lines, secret_of
from proxy.steps.stream import relay_stream
from proxy.steps.unread_answer import note_unread
from proxy.steps.whole import MAX_READ_ANSWER_BYTES, plain, read_whole
from proxy.upstream.connection import ConnectionFailed
from proxy.upstream.encoding import READABLE, InflatedAnswer, coding_of, inflated, inflated_part
from proxy.wire.answer import Answer
from proxy.wire.decoders import Undecodable, load
from proxy.wire.jsonbody import NotAnObject
from proxy.wire.pieces import Pieces

MAX_ERROR_BYTES = 1024 * 1024
TRY_AGAIN = b"retry-after: 1\r\n"
"""Added to a provider's 429 or 503 that does not say when to try again."""
Way = Callable[[Exchange, Answer, Components, RequestDeadline], Awaitable[None]]
_any_json = msgspec.json.Decoder(msgspec.Raw)


async def hand_on(exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline) -> None:
    """Send an answer from any source. Raises `UpstreamError`, also in the middle of an answer, and `Forbidden`."""
    try:
        await way_of(exchange, answer)(exchange, answer, components, deadline)
    except (ConnectionFailed, ConnectionResetError) as error:
        code = error.code if isinstance(error, ConnectionFailed) else "upstream_disconnected"
        raise UpstreamError(code, str(error) or "The provider closed the connection too soon.") from error


def way_of(exchange: Exchange, answer: Answer) -> Way:
    if answer.status >= 400:
        return relay_error
    if exchange.endpoint.lists is not None:
        return relay_list
    dialect, fields = exchange.dialect, dict(answer.headers)
    content_type = fields.get(b"content-type", b"")
    streamed = is_event_stream(content_type)
    if dialect is OPAQUE or answer.status == 204 or exchange.method == "HEAD":
        return relay_unread
    if dialect.has_content and not streamed and b"json" not in content_type.lower():
        return relay_unread
    streams = streamed or asks_for_stream(exchange)
    if b"content-encoding" in fields and (coding := coding_of(answer.headers)):
        if not exchange.endpoint.reads_body:
            return relay_compressed if coding in READABLE and not streams else relay_unread
        if coding not in READABLE:
            return relay_unreadable
        return relay_inflated if streams else relay_compressed
    return relay_by_first_bytes if streams else relay_object


def is_event_stream(content_type: bytes) -> bool:
    return content_type[:17].lower() == b"text/event-stream"


def asks_for_stream(exchange: Exchange) -> bool:
    return exchange.stream or (exchange.endpoint is STORED_RESPONSE and "stream=true" in exchange.query)


async def relay_by_first_bytes(
    exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline
) -> None:
    """Relay the answer as a stream or as an object, depending on its first bytes."""
    content_type = next((value for name, value in answer.headers if name == b"content-type"), b"")
    labelled = is_event_stream(content_type)
    # If the first bytes are late, a label as a stream is believed, unless the client asked for an object.
    is_believed = labelled and (asks_for_stream(exchange) or not exchange.endpoint.reads_body)
    until = asyncio.get_running_loop().time() + HOLD_S if is_believed else inf
    is_stream = await look(exchange, answer, labelled=labelled, until=until)
    if is_stream is None:
        await relay_stream(exchange, answer, components, deadline, is_late=True)
    else:
        await (relay_stream if is_stream else relay_object)(exchange, answer, components, deadline)


async def relay_object(
    exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline, coding: bytes = b""
) -> None:
    """Relay a plain answer that Sluice reads. A compressed answer stays compressed, unless it has to be edited."""
    pieces: list[bytes] = []
    try:
        raw = await read_whole(
            exchange, answer, components, deadline, MAX_READ_ANSWER_BYTES, pieces, passes_blanks=not coding
        )
    except asyncio.CancelledError:
        if isinstance(deadline.reason, ClientGone) and not exchange.endpoint.media:
            if coding:
                pieces = [await asyncio.to_thread(inflated_part, coding, pieces, MAX_READ_ANSWER_BYTES)]
            await estimate_part(exchange, pieces)
        raise
    if raw is None:
        raise UpstreamError(
            "upstream_too_large", f"The provider's answer is larger than {MAX_READ_ANSWER_BYTES:,} bytes."
        )
    text = raw if not coding else await read_through(exchange, coding, raw)
    without: tuple[bytes, ...] = ()
    if text is None:
        await respond.send_pieces(exchange, answer.status, passed_lines(exchange, answer), Pieces([raw]))
        return
    if len(text) > HEAVY_BYTES:
        await relay_long(exchange, answer, components, text, raw if coding else None)
        return
    try:
        read = read_answer(exchange, text)
    except NotAnObject:
        note_unread(exchange, answer.status, text, components)
        raise UpstreamError("upstream_invalid_response", "The provider's answer is not a JSON object.") from None
    components.owners.remember_for(exchange)
    if exchange.endpoint is STORED_RESPONSE:
        components.background.observe(exchange.response_id, read)
    usage = exchange.usage
    if usage is None or not usage.completion or not usage.prompt:
        is_error = usage is None and exchange.outcome == "upstream_error"  # an error has no tokens
        if not is_error:
            await complete_count(exchange, read)
    exchange.answer_is_whole = exchange.caching is None or exchange.dialect.ends_for_good(read)
    if not coding:
        raw = read
    elif read is not text:
        raw, without = read, (b"content-encoding",)
    if exchange.answer_started:
        await respond.end(exchange, raw)
    else:
        await respond.send_whole(exchange, answer.status, passed_lines(exchange, answer, without), raw)


async def relay_compressed(
    exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline
) -> None:
    """Relay a plain answer that came compressed, although Sluice asked for it uncompressed."""
    await relay_object(exchange, answer, components, deadline, coding_of(answer.headers))


async def read_through(exchange: Exchange, coding: bytes, raw: bytes) -> bytes | None:
    """The unpacked answer. None if it is too large to read: then its tokens are estimated from its beginning.

    Raises `UpstreamError`.
    """
    try:
        text, is_all = await inflated(coding, raw, MAX_READ_ANSWER_BYTES)
    except Undecodable as error:
        raise UpstreamError("upstream_invalid_response", f"The provider's answer cannot be read: {error}.") from None
    if is_all:
        return text
    await estimate_part(exchange, [text])
    await finish_estimate(exchange)
    return None


async def relay_inflated(exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline) -> None:
    await load(coding_of(answer.headers).decode())
    await relay_by_first_bytes(exchange, InflatedAnswer(answer, coding_of(answer.headers)), components, deadline)


async def relay_unreadable(
    exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline
) -> None:
    """Relay an answer whose content encoding Sluice cannot read. Its tokens are estimated from its size.

    If the request must be metered, raises `UpstreamError` instead.
    """
    usage = exchange.usage = Usage(source=ESTIMATED)
    await finish_estimate(exchange)  # before the end of the answer leaves
    pieces: list[bytes] = []
    whole: bytes | None = None
    try:
        if not needs_metering(exchange, components.snapshot):
            await relay_unread(exchange, answer, components, deadline)
            return
        whole = await read_whole(exchange, answer, components, deadline, MAX_READ_ANSWER_BYTES, pieces)
    except (ConnectionFailed, ConnectionResetError, asyncio.CancelledError):
        if not isinstance(deadline.reason, ClientGone):
            exchange.usage = None  # an answer that the provider broke off costs nothing
        raise
    finally:
        # Compressed text has about as many bytes as tokens.
        size = exchange.response_bytes or len(whole or b"") or sum(map(len, pieces))
        usage.completion = 0 if exchange.endpoint is EMBEDDINGS else size
        if not size:
            exchange.usage = None
    raise UpstreamError(
        "upstream_unreadable",
        f"The provider's answer has the content-encoding {coding_of(answer.headers).decode('latin-1')!r}, which nobody "
        "asked for. The gateway cannot read it, and so not meter it.",
        headers=[(b"x-should-retry", b"false")],  # a second try would have to be paid again
    )


async def relay_error(exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline) -> None:
    """Relay a provider's error with its status. The credential is removed from its body.

    A body that is not JSON is replaced by an error in the client's dialect, with an excerpt.
    """
    raw = await plain(
        answer, await read_whole(exchange, answer, components, deadline, MAX_ERROR_BYTES, []), MAX_ERROR_BYTES
    )
    exchange.outcome = "upstream_error"
    exchange.error_code = f"upstream_{answer.status}"
    lines = passed_lines(exchange, answer, without=(b"content-encoding",))
    if raw and (secret := secret_of(exchange)):
        raw = raw.replace(secret, b"[credential]")
    if not raw or not _is_json(raw):
        message = f"The provider answered {answer.status} {reason_phrase(answer.status)}."
        if excerpt := note_unread(exchange, answer.status, raw, components):
            message += f" It said: {excerpt}"
        raw = exchange.dialect.error(message, "upstream_error", None, exchange.error_code)
        lines = passed_lines(exchange, answer, without=(b"content-type", b"content-encoding")) + respond.JSON
    if answer.status in (429, 503) and all(name != b"retry-after" for name, _ in answer.headers):
        lines += TRY_AGAIN
    await respond.send_whole(exchange, answer.status, lines, raw)


async def relay_unread(exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline) -> None:
    """Relay an answer as it comes, unread. If it breaks off, so does the client's answer: it is not completed."""
    lines = passed_lines(exchange, answer) + conditional.lines_below(exchange, answer)
    streams = any(name == b"content-type" and is_event_stream(value) for name, value in answer.headers)
    if streams:
        lines += UNBUFFERED
    length = next((value for name, value in answer.headers if name == b"content-length"), None)
    if length is not None:
        lines += b"content-length: %s\r\n" % length
    if streams and not await answer.comes_by(asyncio.get_running_loop().time() + HOLD_S):
        await respond.start(exchange, answer.status, lines)
        await respond.send_piece(exchange, b"")  # sends the head, which would wait for the first piece
    piece = await answer.read()
    exchange.attempts[-1].first_byte_at = time.monotonic()
    exchange.passed_unread = True
    if not exchange.answer_started:
        await respond.start(exchange, answer.status, lines)
    bounds = components.bounds
    while piece:
        deadline.relax()
        await respond.send_piece(exchange, piece)
        deadline.expect(bounds.idle_s, bounds.stream_idle)
        piece = await answer.read()
    exchange.attempts[-1].done_at = time.monotonic()
    await respond.end(exchange)


def _is_json(raw: bytes) -> bool:
    try:
        _any_json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
