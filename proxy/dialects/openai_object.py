"""What OpenAI's plain answers have in common: an id, a model's name, and usage under older or newer names."""

from __future__ import annotations

import msgspec

from proxy.dialects.counts import ToldUsage, find_usage, lenient_json, read_usage, usage_of
from proxy.exchange import Exchange
from proxy.wire.jsonbody import JSONBody, NotAnObject


class _Object(msgspec.Struct):
    """What most answers are, read in one go."""

    id: str | None = None
    usage: ToldUsage | None = None
    error: msgspec.Raw = msgspec.Raw()


# Lax: some servers write whole numbers as 12.0.
_object = msgspec.json.Decoder(_Object, strict=False)
_string = msgspec.json.Decoder(str)


def read_object(exchange: Exchange, raw: bytes) -> bytes:
    """Take usage and id from a plain answer, and put the client's name for the model back. Raises `NotAnObject`."""
    if not exchange.names_put_back:
        try:
            found = _object.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # of another shape than expected, or no object at all: the careful way tells which
        else:
            exchange.usage = usage_of(found.usage) if found.usage is not None else None
            exchange.response_id = found.id or ""
            if found.error and tells_error(found.error):
                note_error(exchange)
            if exchange.usage is None and mentions_usage(raw):
                exchange.usage = find_usage(lenient_json(raw))
            return raw
    try:
        body = JSONBody(raw)
    except NotAnObject:
        read_oddly(exchange, raw)
        return raw
    exchange.usage = read_usage(body.members.get("usage"))
    exchange.response_id = text_of(body.members.get("id"))
    if "error" in body.members and tells_error(body.members["error"]):
        note_error(exchange)
    if exchange.usage is None and mentions_usage(raw):
        exchange.usage = find_usage(lenient_json(raw))
    if exchange.names_put_back and "model" in body.members:
        body.set("model", exchange.model)
    return body.encode()


def read_oddly(exchange: Exchange, raw: bytes) -> None:
    """An object with NaN in it, or with bytes that are no UTF-8: it goes on as it came. Raises `NotAnObject`."""
    told = lenient_json(raw)
    if type(told) is not dict:
        raise NotAnObject("the body must be a JSON object")
    exchange.usage = find_usage(told)
    exchange.response_id = told["id"] if type(told.get("id")) is str else ""
    if told.get("error"):
        note_error(exchange)


def mentions_usage(raw: bytes) -> bool:
    return b'"usage"' in raw or b'"billed_units"' in raw


def tells_error(raw: msgspec.Raw) -> bool:
    """Whether an answer's `error` says anything: null, `{}` and the like do not."""
    return bytes(raw) != b"null" and bool(lenient_json(bytes(raw)))


def note_error(exchange: Exchange) -> None:
    """The provider's answer is an error, whatever its status says. Who reads a stored response asked for just that."""
    if exchange.method == "POST":
        exchange.outcome, exchange.error_code = "upstream_error", "upstream_answer_error"


def text_of(raw: msgspec.Raw | None) -> str:
    """A JSON string's text; nothing for anything else."""
    if raw is None:
        return ""
    try:
        return _string.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
