"""Step 1: what is asked. First path and method; then, once it is known who asks, the body with model and stream flag.

The body waits for the key because it may be 64 MiB: a stranger must not make the gateway hold it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from proxy.admission.bound import needs_metering
from proxy.bounds import MAX_MODEL_CHARS, Bounds
from proxy.components import Parts
from proxy.configuration.snapshot import Snapshot
from proxy.endpoints import READ, READ_RAW, READING, UNKNOWN, Endpoint, allowed_methods, find_endpoint
from proxy.errors import BadRequest, ClientGone, MethodNotAllowed, UnsupportedMediaType, refusal_of
from proxy.exchange import Exchange
from proxy.heavy.jobs import HEAVY_BYTES
from proxy.server.deadlines import Watch
from proxy.steps.azure_paths import AZURE, put_under_v1
from proxy.steps.paths import canonical_path, check_names_no_endpoint
from proxy.steps.unpack import coding_of, unpacked, unpacked_pieces
from proxy.wire.decoders import WINDOW_BYTES
from proxy.wire.form_model import FormReader, chained
from proxy.wire.json_members import LARGE_BYTES, TOO_MANY, has_too_many_members
from proxy.wire.jsonbody import JSONBody, NotAnObject
from proxy.wire.pieces import THREAD_BYTES, joined

SLOWEST_BYTES_PER_S = 1024
"""A body that comes slower than this, beyond `BODY_TIMEOUT_SECS`, is not waited for."""

FORM = b"multipart/form-data"
REPLACEMENT = "\ufffd"
"""What stands where the text was no text."""

_SAFE_TARGET = re.compile(r"[!-~]*")


def receive(exchange: Exchange) -> None:
    """Path, method and the client's own name for the request.

    Raises `BadRequest`, `RequestTimeout`, `HeadTooLarge`, `NotFound`, `MethodNotAllowed`.
    """
    exchange.endpoint = UNKNOWN
    if fault := exchange.head.fault:
        raise refusal_of(fault)
    exchange.endpoint = endpoint = locate(exchange)
    exchange.dialect = endpoint.dialect


async def read(exchange: Exchange, parts: Parts, watch: Watch) -> None:
    """The body, where it is to be understood.

    Raises `BadRequest`, `NotAnObject`, `UnsupportedMediaType`, `RequestTimeout`, `TooLarge`, `ClientGone`.
    """
    if exchange.endpoint.reads_body:
        check_content_type(exchange)
        plain = at_once(exchange, parts, watch)
        if plain is None:
            plain = await read_document(exchange, parts, watch)
        body = JSONBody(plain) if len(plain) < LARGE_BYTES else await read_large(exchange, parts, plain)
        read_json(exchange, body, parts.bounds)
    elif not has_body(exchange):
        watch.listens = True
    elif exchange.endpoint.own:
        return
    elif is_json(exchange, parts.bounds):
        await read_passed(exchange, parts, watch)
    elif exchange.endpoint.forms_name_model and is_form(exchange) and minds_model(exchange, parts.snapshot):
        await read_form(exchange, parts, watch)


def minds_model(exchange: Exchange, snapshot: Snapshot) -> bool:
    """Whether it makes a difference which model a form names; where not, its file goes up as it comes."""
    return snapshot.catalog.minds_models or (bool(exchange.endpoint.media) and needs_metering(exchange, snapshot))


def locate(exchange: Exchange) -> Endpoint:
    """The endpoint; sets `path` to its one spelling, `rest` to what follows `/v1` in it, and `query`.

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


def check_content_type(exchange: Exchange) -> None:
    content_type = exchange.head.fields.get(b"content-type")
    if content_type is None or content_type == b"application/json":
        return
    media_type = content_type.split(b";")[0].strip().lower()
    if media_type != b"application/json" and not media_type.endswith(b"+json"):
        raise UnsupportedMediaType(
            "unsupported_media_type", "Send the body as JSON, with the header 'Content-Type: application/json'."
        )


def has_body(exchange: Exchange) -> bool:
    return exchange.length not in (None, b"0") or b"transfer-encoding" in exchange.head.fields


def broken_off(exchange: Exchange) -> Exception:
    """Why no more of a body comes."""
    fault = exchange.call.fault if exchange.call is not None else None
    return ClientGone() if fault is None else refusal_of(fault)


def declared_length(exchange: Exchange, bounds: Bounds, most: int) -> int | None:
    """The body's length where the client says it. Raises `TooLarge`."""
    declared = exchange.length
    if declared is None:
        return None
    length = int(declared) if declared.isdigit() else 0
    if length > most:
        raise bounds.too_large(most)
    return length


def at_once(exchange: Exchange, parts: Parts, watch: Watch) -> bytes | None:
    """What `read_document` returns, of a small body that came with its head, as most do; else None.

    Raises `TooLarge`, `Unavailable`.
    """
    call = exchange.call
    if call is None or b"content-encoding" in exchange.head.fields or (body := call.whole_body(LARGE_BYTES)) is None:
        return None
    size = len(body)
    if size > parts.bounds.payload_bytes:
        raise parts.bounds.too_large(parts.bounds.payload_bytes)
    parts.body_room.take(size)
    exchange.held_bytes = exchange.request_bytes = size
    if exchange.capture is not None:
        exchange.capture.take_request(body)
    watch.listens = True
    return body


async def read_document(exchange: Exchange, parts: Parts, watch: Watch) -> bytes:
    """The whole body; unpacked where it came packed. Raises also `UnsupportedMediaType` and `BadRequest`."""
    if b"content-encoding" in exchange.head.fields and (coding := coding_of(exchange)):
        return await read_packed(exchange, parts, watch, coding)
    return await read_body(exchange, parts, watch)


async def read_large(exchange: Exchange, parts: Parts, plain: bytes) -> JSONBody:
    """A body that could hold others up. Raises `NotAnObject`, `BadRequest`, `Unavailable`."""
    if len(plain) > HEAVY_BYTES:
        endpoint, rules = exchange.endpoint, exchange.project.rules if exchange.project is not None else None
        params = rules.listed_params if rules is not None else {}
        return await parts.heavy.read_request(plain, endpoint.label, endpoint.names_stored, params)
    if await has_too_many_members(plain):
        raise BadRequest("too_many_members", TOO_MANY)
    return JSONBody(plain)


async def read_packed(exchange: Exchange, parts: Parts, watch: Watch, coding: str) -> bytes:
    """The whole body, unpacked. Raises also `BadRequest`."""
    raw = await read_body(exchange, parts, watch)
    exchange.unpacks = True
    plain = await unpacked(raw, coding, parts.bounds.payload_bytes, parts.body_room)
    if (more := len(plain) - exchange.held_bytes) > 0:
        parts.body_room.take(more)
        exchange.held_bytes += more
    return plain


async def read_body(exchange: Exchange, parts: Parts, watch: Watch) -> bytes:
    """The whole body, bounded in size and in time, and by the room that all bodies have together."""
    bounds, room = parts.bounds, parts.body_room
    most = bounds.payload_bytes
    if declared := declared_length(exchange, bounds, most):
        room.take(declared)
        exchange.held_bytes = declared
    watch.expect(bounds.body_s, bounds.body_late)
    latest = watch.deadline
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
        if size > exchange.held_bytes:
            room.take(size - exchange.held_bytes)
            exchange.held_bytes = size
        pieces.append(piece)
        if not message.get("more_body"):
            break
        watch.deadline = latest + size / SLOWEST_BYTES_PER_S
    watch.relax()
    watch.listens = True
    exchange.request_bytes = size
    if len(pieces) == 1:
        return pieces[0]
    return b"".join(pieces) if size <= THREAD_BYTES else await joined(pieces)


async def upload_pieces(exchange: Exchange, bounds: Bounds, watch: Watch) -> AsyncIterator[bytes]:
    """The body as it comes, for who passes it on; bounded in size, and in the time between two pieces."""
    while True:
        watch.expect(bounds.body_s, bounds.body_late)
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            if exchange.call is None or exchange.call.fault is None:
                watch.client_left()  # who relays an early answer by now does not read this
            raise broken_off(exchange)
        piece = message.get("body", b"")
        exchange.request_bytes += len(piece)
        if exchange.capture is not None:
            exchange.capture.take_request(piece)
        if exchange.request_bytes > bounds.upload_bytes:
            raise bounds.too_large(bounds.upload_bytes)
        watch.expect(bounds.idle_s, bounds.stream_idle)
        if piece:
            yield piece
        if not message.get("more_body"):
            break
    watch.expect(bounds.first_byte_s, bounds.first_byte_late)
    watch.listens = True


def is_json(exchange: Exchange, bounds: Bounds) -> bool:
    """Whether a body that is passed on is read first, to learn which model it names."""
    media_type = exchange.head.fields.get(b"content-type", b"").split(b";")[0].strip().lower()
    length = declared_length(exchange, bounds, bounds.upload_bytes)
    is_object = media_type == b"application/json" or media_type.endswith(b"+json")
    return is_object and (length is None or length <= bounds.payload_bytes)


def is_form(exchange: Exchange) -> bool:
    return exchange.head.fields.get(b"content-type", b"").lower().startswith(FORM)


async def read_form(exchange: Exchange, parts: Parts, watch: Watch) -> None:
    """As much of a form as it takes to learn which model it names; the rest goes up as it comes.

    One that says it nowhere in its first `MAX_PAYLOAD_BYTES` names none. Raises as `read` does.
    """
    reader = FormReader.of(exchange.head.fields[b"content-type"])
    if reader is None:
        return
    bounds = parts.bounds
    pieces = form_pieces(exchange, parts, watch)
    while reader.field is None and not reader.is_over and len(reader.held) <= bounds.payload_bytes:
        piece = await anext(pieces, None)
        if piece is None:
            break
        parts.body_room.take(len(piece))
        exchange.held_bytes += len(piece)
        reader.feed(piece)
    watch.relax()
    exchange.upload = chained(bytes(reader.held), pieces)
    exchange.model_field = field = reader.field
    if field is not None and not exchange.deployment:
        model = field.value.decode("utf-8", "replace").strip()
        if len(model) <= MAX_MODEL_CHARS and model.isprintable() and REPLACEMENT not in model:
            exchange.model = model


def form_pieces(exchange: Exchange, parts: Parts, watch: Watch) -> AsyncIterator[bytes]:
    """A form as it comes, unpacked where it came packed, since its fields are looked at. Raises `Unavailable`."""
    pieces = upload_pieces(exchange, parts.bounds, watch)
    if not (coding := coding_of(exchange)):
        return pieces
    exchange.unpacks = True
    window = WINDOW_BYTES.get(coding, 0)  # until the end of the upload
    parts.body_room.take(window)
    exchange.held_bytes += window
    return unpacked_pieces(pieces, coding, parts.bounds.upload_bytes)


async def read_passed(exchange: Exchange, parts: Parts, watch: Watch) -> None:
    """Keep a body that is passed on as it is; where it is an object that names a model, say which."""
    exchange.passed_body = plain = await read_document(exchange, parts, watch)
    try:
        peek_model(exchange, JSONBody(plain) if len(plain) < LARGE_BYTES else await read_large(exchange, parts, plain))
    except NotAnObject:
        return  # the provider says what is wrong with it


def peek_model(exchange: Exchange, body: JSONBody) -> None:
    """Raises `NotAnObject`."""
    body.check_unambiguous()
    model = body.get("model")
    exchange.body = body
    if exchange.deployment:
        if model != exchange.deployment:
            body.set("model", exchange.deployment)
    elif isinstance(model, str) and len(model) <= MAX_MODEL_CHARS and model.isprintable():
        exchange.model = model


def read_json(exchange: Exchange, body: JSONBody, bounds: Bounds) -> None:
    """Model and stream flag out of the body, and the body as one that every reader understands alike."""
    body.check_unambiguous()
    exchange.body = body
    model = body.get("model")
    if exchange.deployment and model != exchange.deployment:
        model = exchange.deployment
        body.set("model", model)
    preferred = exchange.head.fields.get(b"x-preferred-model")
    if preferred and model in (None, "", "auto"):
        model = preferred.decode("latin-1").strip()
        body.set("model", model)
    if model is None:
        model = ""  # the provider may know it all the same: a stored prompt names it there
    if not isinstance(model, str):
        raise BadRequest("invalid_type", "The model parameter must be a string.", param="model")
    if len(model) > MAX_MODEL_CHARS or not model.isprintable() or REPLACEMENT in model:
        raise BadRequest("invalid_value", "The model parameter is not the name of a model.", param="model")
    suffix = bounds.provider_suffix
    if suffix and model.startswith(suffix + "/"):
        model = model[len(suffix) + 1 :]
        body.set("model", model)
    exchange.model = model
    stream = body.get("stream")
    if stream is not None:
        if not isinstance(stream, bool):
            raise BadRequest("invalid_type", "The stream parameter must be true or false.", param="stream")
        exchange.stream = stream
