"""What OpenAI's plain answers have in common: an id, a model's name, and usage under older or newer names."""

from __future__ import annotations

import msgspec

from proxy.dialects.base import AnswerContext, Facts, RareFacts
from proxy.dialects.counts import ProviderUsage, find_usage, lenient_json, read_usage, usage_of
from proxy.wire.jsonbody import JSONBody, NotAnObject


class _Object(msgspec.Struct):
    """The shape of most answers, read in one go."""

    id: str | None = None
    usage: ProviderUsage | None = None
    error: msgspec.Raw = msgspec.Raw()


# Lax: some servers write whole numbers as 12.0.
_object = msgspec.json.Decoder(_Object, strict=False)
_string = msgspec.json.Decoder(str)


def read_object(raw: bytes, context: AnswerContext) -> tuple[bytes, Facts]:
    """A plain answer with the client's name for the model set, and its usage and id. Raises `NotAnObject`."""
    if context.model is None:
        try:
            answer = _object.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # another shape, or no object at all: the slower way below tells which
        else:
            facts = Facts(usage_of(answer.usage) if answer.usage is not None else None, answer.id or "")
            if answer.error and tells_error(answer.error):
                facts.rare = RareFacts(is_error=True)
            if facts.usage is None and mentions_usage(raw):
                facts.usage = find_usage(lenient_json(raw))
            return raw, facts
    try:
        body = JSONBody(raw)
    except NotAnObject:
        return raw, read_oddly(raw)
    facts = Facts(read_usage(body.members.get("usage")), text_of(body.members.get("id")))
    if "error" in body.members and tells_error(body.members["error"]):
        facts.rare = RareFacts(is_error=True)
    if facts.usage is None and mentions_usage(raw):
        facts.usage = find_usage(lenient_json(raw))
    if context.model is not None and "model" in body.members:
        body.set("model", context.model)
    return body.encode(), facts


def read_oddly(raw: bytes) -> Facts:
    """The facts of an object with NaN or bytes that are not UTF-8, which goes on as it came. Raises `NotAnObject`."""
    document = lenient_json(raw)
    if type(document) is not dict:
        raise NotAnObject("the body must be a JSON object")
    response_id = document["id"] if type(document.get("id")) is str else ""
    return Facts(find_usage(document), response_id, RareFacts(is_error=True) if document.get("error") else None)


def mentions_usage(raw: bytes) -> bool:
    return b'"usage"' in raw or b'"billed_units"' in raw


def tells_error(raw: msgspec.Raw) -> bool:
    """Whether an answer's `error` has any content: null, `{}` and the like have none."""
    return bytes(raw) != b"null" and bool(lenient_json(bytes(raw)))


def text_of(raw: msgspec.Raw | None) -> str:
    """The text of a JSON string; "" for anything else."""
    if raw is None:
        return ""
    try:
        return _string.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
