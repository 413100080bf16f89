"""Step 7: get an answer. Providers are asked one after the other, until one answers.

Each attempt's request is built from what the client sent, and contains nothing of an earlier attempt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

from proxy.attempt import Attempt
from proxy.components import Components
from proxy.dialects.pairs import Pair, pair_of
from proxy.endpoints import OPAQUE, READING, STORED_RESPONSE
from proxy.errors import BadRequest, NoConnection, UpstreamError
from proxy.exchange import Exchange
from proxy.server.deadlines import RequestDeadline
from proxy.steps import conditional
from proxy.steps.authorize import authorized_upload
from proxy.steps.body import form_pieces, upload_pieces
from proxy.steps.facts import answer_context
from proxy.steps.route import route
from proxy.steps.trace import lines_above
from proxy.upstream.client import CHUNKED, Body
from proxy.upstream.connection import ConnectionFailed, NotConnected
from proxy.wire.answer import Answer
from proxy.wire.form_model import renamed_pieces
from proxy.wire.pieces import Pieces, in_pieces
from usage.ids import object_key

JSON_TYPE = b"content-type: application/json\r\n"
UNCOMPRESSED = b"accept-encoding: identity\r\n"


async def fetch(exchange: Exchange, components: Components, deadline: RequestDeadline) -> Answer:
    """An answer whose head has come. The caller reads it to its end or aborts it.

    Raises `UpstreamError`, `NoProvider`, `NoPair`, `CredentialUnavailable`, `BadRequest`, `NotFound`, `ClientGone`.
    """
    attempts = await route(exchange, components)
    if exchange.method == "DELETE" and exchange.endpoint is STORED_RESPONSE:
        await before_deletion(exchange.rest.split("/")[2], components)
    attempt = next(attempts)
    while True:
        try:
            return await ask(exchange, components, deadline, attempt)
        except NoConnection:
            provider_ids = {attempt.provider.id for attempt in exchange.attempts}  # some of them more than once
            if len(provider_ids) >= components.bounds.attempts or (following := next(attempts, None)) is None:
                raise
            attempt = following


async def before_deletion(response_id: str, components: Components) -> None:
    """What is to be done before a response is deleted at its provider."""
    await components.background.look_before(response_id)
    if components.cache is not None:
        response_id = unquote(response_id, errors="surrogateescape")
        components.cache.memory.delete_stored(object_key(response_id))
        for call in tuple(components.cache.calls.values()):
            if call.response_id == response_id:
                call.close()
        if components.running_cache is not None:
            await components.running_cache.forget_response(object_key(response_id))


async def ask(exchange: Exchange, components: Components, deadline: RequestDeadline, attempt: Attempt) -> Answer:
    """Send the request to the attempt's provider and wait for the head of the answer.

    Raises as `fetch`, and `NoConnection` if nothing was sent to the provider.
    """
    exchange.begin(attempt)
    provider = attempt.provider
    attempt.access = components.snapshot.catalog.access(provider, *attempt.aliases)
    kind, dialect = provider.kind, exchange.dialect
    pair = None if kind.api == dialect.api else pair_of(dialect, kind.api)
    framing, body = request_body(exchange, components, deadline, attempt, pair)
    try:
        span = exchange.span
        above = exchange.head.lines_above() if span is None else lines_above(exchange.head, span)
        if exchange.unpacks:
            above = b"".join(line for line in above.splitlines(True) if not line.startswith(b"content-encoding:"))
        lines = above + attempt.access.lines
        if exchange.method in READING:
            lines += conditional.lines_above(exchange)
    except ValueError as error:
        raise BadRequest("invalid_header", "A header of the request has a value that cannot be sent on.") from error
    rest = exchange.rest if pair is None else pair.path(exchange.rest)
    path = kind.path(provider.base_path, rest, exchange.query, attempt.model, provider.options)
    attempt.sent_at = time.monotonic()
    bounds = components.bounds
    deadline.expect(bounds.head_s, bounds.first_byte_late)
    try:
        answer = await components.upstream.send(
            provider, exchange.method, path, lines + framing, body, exchange.repeat_attempt
        )
    except asyncio.CancelledError:
        raise deadline.cause() from None
    except ConnectionFailed as error:
        exchange.attempts[-1].error = error.code
        failure = NoConnection if isinstance(error, NotConnected) else UpstreamError
        raise failure(error.code, str(error)) from error
    exchange.attempts[-1].status = answer.status
    return answer if pair is None else pair.answer(answer, answer_context(exchange))


def request_body(
    exchange: Exchange, components: Components, deadline: RequestDeadline, attempt: Attempt, pair: Pair | None
) -> tuple[bytes, Body]:
    """(Header lines, body) for the provider."""
    if exchange.endpoint.reads_body:
        return body_read(exchange, attempt, pair)
    lines = encoding_line(exchange)
    whole: bytes | Pieces
    if exchange.body is not None:
        whole = exchange.body.encode(renaming(exchange, attempt))
    elif exchange.passed_body is not None:
        whole = in_pieces(exchange.passed_body)
    elif exchange.has_body:
        framing, pieces = upload(exchange, components, deadline, attempt)
        return lines + framing, pieces
    else:
        whole = b""
    if whole or exchange.method not in ("GET", "HEAD", "DELETE", "OPTIONS"):
        lines += b"content-length: %d\r\n" % len(whole)
    return lines, whole


def upload(
    exchange: Exchange, components: Components, deadline: RequestDeadline, attempt: Attempt
) -> tuple[bytes, AsyncIterator[bytes]]:
    """(Header line, pieces) of a body that is forwarded as it comes.

    If the model of a form was read, it is replaced by the provider's name for it.
    """
    pieces = exchange.upload
    if pieces is None:
        if exchange.is_form:
            pieces = form_pieces(exchange, components, deadline)
        else:
            pieces = upload_pieces(exchange, components.bounds, deadline)
    length = int(exchange.length) if exchange.length and not exchange.unpacks else None
    pieces = authorized_upload(exchange, pieces)
    field = exchange.model_field
    if field is not None and exchange.model and (name := attempt.model.encode()) != field.value.strip():
        pieces = renamed_pieces(pieces, field, name)
        if length is not None:
            length += len(name) - len(field.value)
    return CHUNKED if length is None else b"content-length: %d\r\n" % length, pieces


def body_read(exchange: Exchange, attempt: Attempt, pair: Pair | None) -> tuple[bytes, Body]:
    """(Header lines, body) of a request whose body Sluice has read. It also reads the answer, so that must not come
    compressed.
    """
    body = exchange.body
    assert body is not None
    changes = renaming(exchange, attempt)
    if not exchange.hides_usage:
        attempt.asked_usage = exchange.stream
    elif attempt.provider.asks_for_stream_usage:
        attempt.asked_usage = True
        changes |= exchange.dialect.asking_for_usage(body)
    whole = body.encode(changes) if pair is None else pair.request(body, changes)
    lines = b"%scontent-length: %d\r\n" % (UNCOMPRESSED, len(whole))
    return (lines if b"content-type" in exchange.head.fields else JSON_TYPE + lines), whole


def renaming(exchange: Exchange, attempt: Attempt) -> dict[str, Any]:
    """The member to set if the provider has another name for the model."""
    return {"model": attempt.model} if attempt.model != exchange.model else {}


def encoding_line(exchange: Exchange) -> bytes:
    """The Accept-Encoding line. An answer that Sluice does not read may come compressed, if the client accepts that."""
    if exchange.dialect is not OPAQUE or exchange.endpoint.lists is not None:
        return UNCOMPRESSED
    accepted = exchange.head.fields.get(b"accept-encoding")
    return b"accept-encoding: %s\r\n" % accepted if accepted is not None else b""
