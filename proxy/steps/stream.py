"""Relay a stream of events: each frame is read and sent as it comes, and a failure never looks like a regular end."""

from __future__ import annotations

import asyncio
import time

from proxy.admission.uncounted import finish_estimate
from proxy.components import Components
from proxy.dialects.base import StreamFault, StreamReader
from proxy.errors import ClientGone, ProxyError, ShuttingDown, UpstreamError
from proxy.exchange import Exchange
from proxy.server.deadlines import RequestDeadline
from proxy.steps import respond
from proxy.steps.facts import answer_context
from proxy.steps.passed_headers import UNBUFFERED, passed_lines
from proxy.upstream.connection import ConnectionFailed
from proxy.wire.answer import Answer
from proxy.wire.sse import LATE_LF, FrameSplitter

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""A longer frame is forwarded unread, as it comes: Sluice does not wait for its end, and keeps nothing of it."""


async def relay_stream(
    exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline, *, is_late: bool = False
) -> None:
    """Relay until the provider ends the stream. A failure before the first frame is raised, as for any other answer.
    If the first frame is late (`is_late`), the head is sent without it, and a failure can no longer be raised.

    A later failure is sent as an error event of the dialect, without a finish reason or a closing mark that the
    provider did not send. Then the stream ends, and the row has the failure.
    """
    exchange.stream = True
    reader = exchange.dialect.stream_reader(answer_context(exchange))
    failure: ProxyError | ClientGone | None = None
    try:
        if is_late:
            await start(exchange, answer)
            await respond.send_piece(exchange, b"")  # sends the head, which would wait for the first piece
        await pump(exchange, answer, reader, components, deadline)
    except (StreamFault, ConnectionFailed, ConnectionResetError, asyncio.CancelledError) as error:
        failure = failure_of(error, deadline)
        if isinstance(failure, ClientGone):
            raise failure from None
        if not exchange.answer_started:
            raise failure from error
        deadline.relax()
        is_stop = isinstance(failure, ShuttingDown)
        if not reader.is_finished:
            exchange.outcome, exchange.error_code = "internal_error" if is_stop else "upstream_error", failure.code
            await respond.send_piece(exchange, reader.error_frame(failure.code, failure.message))
        if is_stop:
            exchange.usage = reader.usage_so_far()
        else:
            await count(exchange, reader)
        await respond.end(exchange)
    finally:
        if not exchange.answer_ended:
            exchange.usage = reader.usage_so_far()
        exchange.response_id, exchange.units = reader.response_id, reader.units
        is_whole = failure is None and reader.is_finished and not reader.failed
        exchange.answer_is_whole = is_whole and reader.ends_for_good
        exchange.tells_usage = reader.usage is not None
        if reader.goes_on:
            exchange.goes_on, exchange.usage = True, None  # its usage is recorded when the response is complete
        failure = None  # its traceback refers to this frame: a cycle, which would keep the request in memory
    if reader.failed and not exchange.outcome:
        exchange.outcome, exchange.error_code = "upstream_error", "upstream_stream_error"


async def pump(
    exchange: Exchange, answer: Answer, reader: StreamReader, components: Components, deadline: RequestDeadline
) -> None:
    splitter = FrameSplitter()
    attempt = exchange.attempts[-1]
    bounds = components.bounds
    while piece := await answer.read():
        if attempt.first_byte_at is None:
            attempt.first_byte_at = time.monotonic()
        unread = b""
        if splitter.is_letting_go:
            size = splitter.let_go_of(piece)
            unread, piece = piece[:size], piece[size:]
        out, fault = read_frames(reader, splitter.feed(piece))
        out = unread + out if unread else out
        if splitter.waiting_bytes > MAX_FRAME_BYTES:
            reader.pass_unread()
            out += splitter.let_go()
        elif splitter.waiting_bytes:
            out += splitter.let_comments_go()
        if (reader.response_id and not exchange.response_id) or reader.stored_keys:
            exchange.response_id = reader.response_id
            exchange.stored_keys, reader.stored_keys = reader.stored_keys, ()
            components.owners.remember_for(exchange)
        deadline.relax()
        await send_frames(exchange, answer, out)
        if fault is not None:
            raise StreamFault(fault.code, fault.message)  # a new one, because this frame refers to `fault`: a cycle
        deadline.expect(bounds.idle_s, bounds.stream_idle)
    attempt.done_at = time.monotonic()
    deadline.relax()
    rest = splitter.rest()
    out = reader.frame(rest) if rest else b""
    out += reader.end()  # may raise, so before `out` is sent: behind half an event the error event would be lost
    await send_frames(exchange, answer, out)
    if not exchange.answer_started:
        await start(exchange, answer)
    await count(exchange, reader)
    await respond.end(exchange)


async def count(exchange: Exchange, reader: StreamReader) -> None:
    """Set the usage of the stream, before its end is sent."""
    exchange.usage = reader.usage_so_far()
    await finish_estimate(exchange)


def read_frames(reader: StreamReader, frames: list[bytes]) -> tuple[bytes, StreamFault | None]:
    """What goes to the client for these frames, up to the first that no client could read, and its fault."""
    if len(frames) == 1 and frames[0] is not LATE_LF:
        try:
            out = reader.frame(frames[0])
        except StreamFault as fault:
            return b"", fault
        reader.hid_last = not out
        return out, None
    return read_several(reader, frames)


def read_several(reader: StreamReader, frames: list[bytes]) -> tuple[bytes, StreamFault | None]:
    outs: list[bytes] = []
    for frame in frames:
        if frame is LATE_LF:
            out = b"" if reader.hid_last else frame
        else:
            try:
                out = reader.frame(frame)
            except StreamFault as fault:
                return b"".join(outs), fault
            reader.hid_last = not out
        outs.append(out)
    return b"".join(outs), None


async def send_frames(exchange: Exchange, answer: Answer, out: bytes) -> None:
    if not out:
        return
    if not exchange.answer_started:
        await start(exchange, answer)
    await respond.send_piece(exchange, out)


async def start(exchange: Exchange, answer: Answer) -> None:
    await respond.start(exchange, answer.status, passed_lines(exchange, answer) + UNBUFFERED)


def failure_of(error: BaseException, deadline: RequestDeadline) -> ProxyError | ClientGone:
    """The error to tell the client. Raises `CancelledError`, as `RequestDeadline.cause` does."""
    if isinstance(error, asyncio.CancelledError):
        return deadline.cause()
    if isinstance(error, StreamFault):
        return UpstreamError(error.code, error.message)
    if isinstance(error, ConnectionFailed):
        return UpstreamError(error.code, str(error))
    return UpstreamError("upstream_disconnected", "The provider closed the connection too soon.")
