"""What OpenAI's plain answers have in common: an id, a model's name, and usage under older or newer names."""

from __future__ import annotations

import msgspec

from proxy.dialects.base import Usage
from proxy.exchange import Exchange
from proxy.jsonbody import JSONBody


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Object(msgspec.Struct):
    """What most answers are, read in one go."""

    id: str | None = None
    usage: _Usage | None = None


# Lax: some servers write whole numbers as 12.0.
_decoder = msgspec.json.Decoder(_Usage, strict=False)
_object = msgspec.json.Decoder(_Object, strict=False)
_NOTHING = _Details()
_string = msgspec.json.Decoder(str)


def read_usage(raw: bytes | msgspec.Raw | None) -> Usage | None:
    """The tokens of a usage object; None for null, and for a shape that tells nothing."""
    if not raw:
        return None
    try:
        return usage_of(_decoder.decode(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def usage_of(found: _Usage) -> Usage | None:
    prompt = found.prompt_tokens if found.prompt_tokens is not None else found.input_tokens
    completion = found.completion_tokens if found.completion_tokens is not None else found.output_tokens
    if prompt is None and completion is None:
        return None
    of_prompt = found.prompt_tokens_details or found.input_tokens_details or _NOTHING
    of_completion = found.completion_tokens_details or found.output_tokens_details or _NOTHING
    audio_in, audio_out = _counted(of_prompt.audio_tokens), _counted(of_completion.audio_tokens)
    return Usage(
        _counted(prompt),
        _counted(completion),
        _counted(of_prompt.cached_tokens),
        _counted(of_completion.reasoning_tokens),
        audio=(audio_in or 0) + (audio_out or 0) or None,
        audio_in=audio_in,
        audio_out=audio_out,
        cache_write=_counted(of_prompt.cache_write_tokens),
    )


def _counted(tokens: int | None) -> int | None:
    """A provider's nonsense (negative, beyond any database's range) is not a count."""
    return tokens if tokens is not None and 0 <= tokens < 2**53 else None


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
            return raw
    body = JSONBody(raw)
    exchange.usage = read_usage(body.members.get("usage"))
    exchange.response_id = text_of(body.members.get("id"))
    if exchange.names_put_back and "model" in body.members:
        body.set("model", exchange.model)
    return body.encode()


def text_of(raw: msgspec.Raw | None) -> str:
    """A JSON string's text; nothing for anything else."""
    if raw is None:
        return ""
    try:
        return _string.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
