"""Step 7, its first half: the request goes to the provider."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from proxy.components import Parts
from proxy.endpoints import OPAQUE
from proxy.errors import BadRequest, UpstreamError
from proxy.exchange import Exchange
from proxy.server.deadlines import Watch
from proxy.steps.authorize import authorized_upload
from proxy.steps.receive import form_pieces, has_body, is_form, upload_pieces
from proxy.steps.trace import lines_above
from proxy.upstream.client import CHUNKED, Answer, Body
from proxy.upstream.connection import ConnectionFailed
from proxy.wire.form_model import renamed_pieces
from proxy.wire.jsonbody import JSONBody
from proxy.wire.pieces import Pieces, in_pieces

JSON_TYPE = b"content-type: application/json\r\n"
UNCOMPRESSED = b"accept-encoding: identity\r\n"


async def ask(exchange: Exchange, parts: Parts, watch: Watch) -> Answer:
    """Send the request and wait for the head of the answer. Raises `UpstreamError`, `BadRequest`."""
    assert exchange.candidate is not None
    assert exchange.access is not None
    provider, model = exchange.candidate
    exchange.count_attempt()
    framing, body = request_body(exchange, parts, watch)
    try:
        span = exchange.span
        above = exchange.head.lines_above() if span is None else lines_above(exchange.head, span)
        if exchange.unpacks:
            above = b"".join(line for line in above.splitlines(True) if not line.startswith(b"content-encoding:"))
        lines = above + exchange.access.lines
    except ValueError as error:
        raise BadRequest("invalid_header", "A header of the request has a value that cannot be sent on.") from error
    path = provider.kind.path(provider.base_path, exchange.rest, exchange.query, model, provider.options)
    exchange.sent_at = time.monotonic()
    bounds = parts.bounds
    watch.expect(bounds.head_s, bounds.first_byte_late)
    try:
        return await parts.upstream.send(provider, exchange.method, path, lines + framing, body, exchange.count_attempt)
    except ConnectionFailed as error:
        raise UpstreamError(error.code, str(error)) from error


def request_body(exchange: Exchange, parts: Parts, watch: Watch) -> tuple[bytes, Body]:
    """The body for the provider, behind the header lines that go with it."""
    if exchange.endpoint.reads_body:
        return body_read(exchange)
    lines = encoding_line(exchange)
    whole: bytes | Pieces
    if exchange.body is not None:
        whole = renamed(exchange, exchange.body)
    elif exchange.passed_body is not None:
        whole = in_pieces(exchange.passed_body)
    elif has_body(exchange):
        framing, pieces = upload(exchange, parts, watch)
        return lines + framing, pieces
    else:
        whole = b""
    if whole or exchange.method not in ("GET", "HEAD", "DELETE", "OPTIONS"):
        lines += b"content-length: %d\r\n" % len(whole)
    return lines, whole


def upload(exchange: Exchange, parts: Parts, watch: Watch) -> tuple[bytes, AsyncIterator[bytes]]:
    """A body that goes up as it comes; a form with the provider's name for the model, where that was read."""
    assert exchange.candidate is not None
    pieces = exchange.upload
    if pieces is None:
        if is_form(exchange):
            pieces = form_pieces(exchange, parts, watch)
        else:
            pieces = upload_pieces(exchange, parts.bounds, watch)
    length = int(exchange.length) if exchange.length and not exchange.unpacks else None
    pieces = authorized_upload(exchange, pieces)
    field = exchange.model_field
    if field is not None and exchange.model and (name := exchange.candidate.model.encode()) != field.value.strip():
        pieces = renamed_pieces(pieces, field, name)
        if length is not None:
            length += len(name) - len(field.value)
    return CHUNKED if length is None else b"content-length: %d\r\n" % length, pieces


def body_read(exchange: Exchange) -> tuple[bytes, Body]:
    """A body that Sluice has read, and whose answer it reads: so the answer must not come compressed."""
    assert exchange.body is not None
    exchange.dialect.prepare(exchange, exchange.body)
    whole = renamed(exchange, exchange.body)
    lines = b"%scontent-length: %d\r\n" % (UNCOMPRESSED, len(whole))
    return (lines if b"content-type" in exchange.head.fields else JSON_TYPE + lines), whole


def renamed(exchange: Exchange, body: JSONBody) -> bytes | Pieces:
    """The body with the provider's name for the model."""
    if exchange.names_put_back:
        assert exchange.candidate is not None
        body.set("model", exchange.candidate.model)
    return body.encode()


def encoding_line(exchange: Exchange) -> bytes:
    """What Sluice does not read may come compressed, if the client likes it so."""
    if exchange.dialect is not OPAQUE or exchange.endpoint.lists is not None:
        return UNCOMPRESSED
    accepted = exchange.head.fields.get(b"accept-encoding")
    return b"accept-encoding: %s\r\n" % accepted if accepted is not None else b""
