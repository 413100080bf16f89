"""Step 3: read the body within a bound. Find the model, the stream flag, and what else the client asked for.

The body is read after the key is checked, because it may be 64 MiB: a client without a key must not make Sluice hold
it.
"""

from __future__ import annotations

from proxy.admission.bound import needs_metering
from proxy.bounds import MAX_MODEL_CHARS, Bounds
from proxy.components import Components
from proxy.configuration.snapshot import Snapshot
from proxy.errors import BadRequest
from proxy.exchange import Exchange
from proxy.server.deadlines import RequestDeadline
from proxy.steps.body import (
    at_once,
    check_content_type,
    form_pieces,
    is_json,
    read_document,
    read_large,
)
from proxy.wire.form_model import FormReader, chained
from proxy.wire.json_members import LARGE_BYTES
from proxy.wire.jsonbody import JSONBody, NotAnObject

OWN_MEMBERS = frozenset({"cache_skip", "request_id", "request_timestamp", "nonce", "__meta__"})
"""Members of a body that are for the gateway: they say nothing of what is asked."""

REPLACEMENT = "\ufffd"
"""Stands in place of bytes that could not be decoded."""


async def read(exchange: Exchange, components: Components, deadline: RequestDeadline) -> None:
    """Read the body, if Sluice has to understand it.

    Raises `BadRequest`, `NotAnObject`, `UnsupportedMediaType`, `RequestTimeout`, `TooLarge`, `ClientGone`.
    """
    if exchange.endpoint.reads_body:
        check_content_type(exchange)
        plain = at_once(exchange, components, deadline)
        if plain is None:
            plain = await read_document(exchange, components, deadline)
        body = JSONBody(plain) if len(plain) < LARGE_BYTES else await read_large(exchange, components, plain)
        read_json(exchange, body, components.bounds)
    elif not exchange.has_body:
        deadline.listens = True
    elif exchange.endpoint.own:
        return
    elif is_json(exchange, components.bounds):
        await read_passed(exchange, components, deadline)
    elif exchange.endpoint.forms_name_model and exchange.is_form and minds_model(exchange, components.snapshot):
        await read_form(exchange, components, deadline)


def minds_model(exchange: Exchange, snapshot: Snapshot) -> bool:
    """Whether it matters which model a form names. If not, the form is forwarded without being read."""
    return snapshot.catalog.minds_models or (bool(exchange.endpoint.media) and needs_metering(exchange, snapshot))


async def read_form(exchange: Exchange, components: Components, deadline: RequestDeadline) -> None:
    """Read a form until its model is found. The rest is forwarded as it comes.

    A form without a model in its first `MAX_PAYLOAD_BYTES` names none. Raises as `read` does.
    """
    reader = FormReader.of(exchange.head.fields[b"content-type"])
    if reader is None:
        return
    bounds = components.bounds
    pieces = form_pieces(exchange, components, deadline)
    while reader.field is None and not reader.is_over and len(reader.buffer) <= bounds.payload_bytes:
        piece = await anext(pieces, None)
        if piece is None:
            break
        components.body_room.take(len(piece))
        exchange.reserved_bytes += len(piece)
        reader.feed(piece)
    deadline.relax()
    exchange.upload = chained(bytes(reader.buffer), pieces)
    exchange.model_field = field = reader.field
    if field is not None and not exchange.deployment:
        model = field.value.decode("utf-8", "replace").strip()
        if len(model) <= MAX_MODEL_CHARS and model.isprintable() and REPLACEMENT not in model:
            exchange.model = model


async def read_passed(exchange: Exchange, components: Components, deadline: RequestDeadline) -> None:
    """Read a body that is forwarded as it is. If it is an object that names a model, set `model`."""
    exchange.passed_body = plain = await read_document(exchange, components, deadline)
    try:
        peek_model(
            exchange, JSONBody(plain) if len(plain) < LARGE_BYTES else await read_large(exchange, components, plain)
        )
    except NotAnObject:
        return  # the provider says what is wrong with it


def peek_model(exchange: Exchange, body: JSONBody) -> None:
    """Set `body`, and `model` if the body names one. Raises `NotAnObject`."""
    body.check_unambiguous()
    model = body.get("model")
    exchange.body = body
    if exchange.deployment:
        if model != exchange.deployment:
            body.set("model", exchange.deployment)
    elif isinstance(model, str) and len(model) <= MAX_MODEL_CHARS and model.isprintable():
        exchange.model = model


def take_own_members(exchange: Exchange, body: JSONBody) -> None:
    """What a body has for the gateway does not go to a provider."""
    skips = body.get("cache_skip")
    if skips is not None and not isinstance(skips, bool):
        raise BadRequest("invalid_type", "The cache_skip parameter must be true or false.", param="cache_skip")
    exchange.skips_cache = bool(skips)
    for name in OWN_MEMBERS:
        body.remove(name)


def read_json(exchange: Exchange, body: JSONBody, bounds: Bounds) -> None:
    """Set the model, the stream flag and the body, which all parsers then read in the same way.

    Raises `BadRequest`, `NotAnObject`.
    """
    body.check_unambiguous()
    exchange.body = body
    if not OWN_MEMBERS.isdisjoint(body.members):
        take_own_members(exchange, body)
    model = body.get("model")
    if exchange.deployment and model != exchange.deployment:
        model = exchange.deployment
        body.set("model", model)
    preferred = exchange.head.fields.get(b"x-preferred-model")
    if preferred and model in (None, "", "auto"):
        model = preferred.decode("latin-1").strip()
        body.set("model", model)
    if model is None:
        model = ""  # the provider may still know it, from a stored prompt
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
        if stream:
            exchange.hides_usage = exchange.dialect.hides_usage(body)
