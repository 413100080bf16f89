"""Read the body of a request: whole, or in pieces that are forwarded as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator

from proxy.bounds import Bounds
from proxy.components import Components
from proxy.errors import BadRequest, ClientGone, UnsupportedMediaType, refusal_of
from proxy.exchange import Exchange
from proxy.heavy.jobs import HEAVY_BYTES
from proxy.server.deadlines import RequestDeadline
from proxy.steps.unpack import coding_of, unpacked, unpacked_pieces
from proxy.wire.decoders import WINDOW_BYTES
from proxy.wire.json_members import LARGE_BYTES, TOO_MANY, has_too_many_members
from proxy.wire.jsonbody import JSONBody
from proxy.wire.pieces import THREAD_BYTES, joined

SLOWEST_BYTES_PER_S = 1024
"""A body may take `BODY_TIMEOUT_SECS`, and in addition the time that its bytes take at this rate."""


def check_content_type(exchange: Exchange) -> None:
    content_type = exchange.head.fields.get(b"content-type")
    if content_type is None or content_type == b"application/json":
        return
    media_type = content_type.split(b";")[0].strip().lower()
    if media_type != b"application/json" and not media_type.endswith(b"+json"):
        raise UnsupportedMediaType(
            "unsupported_media_type", "Send the body as JSON, with the header 'Content-Type: application/json'."
        )


def broken_off(exchange: Exchange) -> Exception:
    """The error for a body that ends too soon: the HTTP server's reason, or else `ClientGone`."""
    fault = exchange.call.fault if exchange.call is not None else None
    return ClientGone() if fault is None else refusal_of(fault)


def declared_length(exchange: Exchange, bounds: Bounds, most: int) -> int | None:
    """The body's length, or None if the client does not declare it. Raises `TooLarge`."""
    declared = exchange.length
    if declared is None:
        return None
    length = int(declared) if declared.isdigit() else 0
    if length > most:
        raise bounds.too_large(most)
    return length


def at_once(exchange: Exchange, components: Components, deadline: RequestDeadline) -> bytes | None:
    """The same as `read_document`, if the body is small and came together with the head, as most do; else None.

    Raises `TooLarge`, `Unavailable`.
    """
    call = exchange.call
    if call is None or b"content-encoding" in exchange.head.fields or (body := call.whole_body(LARGE_BYTES)) is None:
        return None
    size = len(body)
    if size > components.bounds.payload_bytes:
        raise components.bounds.too_large(components.bounds.payload_bytes)
    components.body_room.take(size)
    exchange.reserved_bytes = exchange.request_bytes = size
    if exchange.capture is not None:
        exchange.capture.take_request(body)
    deadline.listens = True
    return body


async def read_document(exchange: Exchange, components: Components, deadline: RequestDeadline) -> bytes:
    """The whole body, unpacked if it is compressed. Raises as `read_body`, and `UnsupportedMediaType`, `BadRequest`."""
    if b"content-encoding" in exchange.head.fields and (coding := coding_of(exchange)):
        return await read_packed(exchange, components, deadline, coding)
    return await read_body(exchange, components, deadline)


async def read_large(exchange: Exchange, components: Components, plain: bytes) -> JSONBody:
    """Parse a body that could block the event loop. Raises `NotAnObject`, `BadRequest`, `Unavailable`."""
    if len(plain) > HEAVY_BYTES:
        endpoint, rules = exchange.endpoint, exchange.project.rules if exchange.project is not None else None
        params = rules.listed_params if rules is not None else {}
        return await components.heavy.read_request(plain, endpoint.label, endpoint.names_stored, params)
    if await has_too_many_members(plain):
        raise BadRequest("too_many_members", TOO_MANY)
    return JSONBody(plain)


async def read_packed(exchange: Exchange, components: Components, deadline: RequestDeadline, coding: str) -> bytes:
    """The whole body, unpacked. Raises as `read_body`, and `BadRequest`."""
    raw = await read_body(exchange, components, deadline)
    exchange.unpacks = True
    plain = await unpacked(raw, coding, components.bounds.payload_bytes, components.body_room)
    if (more := len(plain) - exchange.reserved_bytes) > 0:
        components.body_room.take(more)
        exchange.reserved_bytes += more
    return plain


async def read_body(exchange: Exchange, components: Components, deadline: RequestDeadline) -> bytes:
    """The whole body. Its size and its time are bounded, and so is the room that all bodies share.

    Raises `TooLarge`, `Unavailable`, and what `broken_off` returns.
    """
    bounds, room = components.bounds, components.body_room
    most = bounds.payload_bytes
    if declared := declared_length(exchange, bounds, most):
        room.take(declared)
        exchange.reserved_bytes = declared
    deadline.expect(bounds.body_s, bounds.body_late)
    latest = deadline.at
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            exchange.request_bytes = size
            raise broken_off(exchange)
        piece = message.get("body", b"")
        size += len(piece)
        if exchange.capture is not None:
            exchange.capture.take_request(piece)
        if size > most:
            raise bounds.too_large(most)
        if size > exchange.reserved_bytes:
            room.take(size - exchange.reserved_bytes)
            exchange.reserved_bytes = size
        pieces.append(piece)
        if not message.get("more_body"):
            break
        deadline.at = latest + size / SLOWEST_BYTES_PER_S
    deadline.relax()
    deadline.listens = True
    exchange.request_bytes = size
    if len(pieces) == 1:
        return pieces[0]
    return b"".join(pieces) if size <= THREAD_BYTES else await joined(pieces)


async def upload_pieces(exchange: Exchange, bounds: Bounds, deadline: RequestDeadline) -> AsyncIterator[bytes]:
    """The pieces of a body that is forwarded as it comes. Its size and the time between two pieces are bounded."""
    while True:
        deadline.expect(bounds.body_s, bounds.body_late)
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            if exchange.call is None or exchange.call.fault is None:
                deadline.client_left()  # if an early answer is being relayed, the error below is not noticed
            raise broken_off(exchange)
        piece = message.get("body", b"")
        exchange.request_bytes += len(piece)
        if exchange.capture is not None:
            exchange.capture.take_request(piece)
        if exchange.request_bytes > bounds.upload_bytes:
            raise bounds.too_large(bounds.upload_bytes)
        deadline.expect(bounds.idle_s, bounds.stream_idle)
        if piece:
            yield piece
        if not message.get("more_body"):
            break
    deadline.expect(bounds.first_byte_s, bounds.first_byte_late)
    deadline.listens = True


def is_json(exchange: Exchange, bounds: Bounds) -> bool:
    """Whether a body that is forwarded unchanged is read first, to find the model that it names."""
    media_type = exchange.head.fields.get(b"content-type", b"").split(b";")[0].strip().lower()
    length = declared_length(exchange, bounds, bounds.upload_bytes)
    is_object = media_type == b"application/json" or media_type.endswith(b"+json")
    return is_object and (length is None or length <= bounds.payload_bytes)


def form_pieces(exchange: Exchange, components: Components, deadline: RequestDeadline) -> AsyncIterator[bytes]:
    """The pieces of a form. A compressed form is unpacked, because its fields are checked.

    Raises `Unavailable`, `UnsupportedMediaType`.
    """
    pieces = upload_pieces(exchange, components.bounds, deadline)
    if not (coding := coding_of(exchange)):
        return pieces
    exchange.unpacks = True
    window = WINDOW_BYTES.get(coding, 0)  # held until the request ends
    components.body_room.take(window)
    exchange.reserved_bytes += window
    return unpacked_pieces(pieces, coding, components.bounds.upload_bytes)
