"""What OpenAI's plain answers have in common: an id, a model's name, and usage under older or newer names."""

from __future__ import annotations

import msgspec

from proxy.dialects.base import Usage
from proxy.exchange import Exchange
from proxy.jsonbody import JSONBody


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
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


# Lax: some servers write whole numbers as 12.0.
_decoder = msgspec.json.Decoder(_Usage, strict=False)
_NOTHING = _Details()
_string = msgspec.json.Decoder(str)


def read_usage(raw: bytes | msgspec.Raw | None) -> Usage | None:
    """The tokens of a usage object; None for null, and for a shape that tells nothing."""
    if not raw:
        return None
    try:
        found = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    prompt = found.prompt_tokens if found.prompt_tokens is not None else found.input_tokens
    completion = found.completion_tokens if found.completion_tokens is not None else found.output_tokens
    if prompt is None and completion is None:
        return None
    of_prompt = found.prompt_tokens_details or found.input_tokens_details or _NOTHING
    of_completion = found.completion_tokens_details or found.output_tokens_details or _NOTHING
    audio = (of_prompt.audio_tokens or 0) + (of_completion.audio_tokens or 0)
    return Usage(
        prompt=_counted(prompt),
        completion=_counted(completion),
        cached=_counted(of_prompt.cached_tokens),
        reasoning=_counted(of_completion.reasoning_tokens),
        audio=audio or None,
    )


def _counted(tokens: int | None) -> int | None:
    """A provider's nonsense (negative, beyond any database's range) is not a count."""
    return tokens if tokens is not None and 0 <= tokens < 2**53 else None


def read_object(exchange: Exchange, body: JSONBody) -> None:
    """Take usage and id from a plain answer, and put the client's name for the model back."""
    exchange.usage = read_usage(body.members.get("usage"))
    exchange.response_id = text_of(body.members.get("id"))
    if exchange.names_put_back and "model" in body.members:
        body.set("model", exchange.model)


def text_of(raw: msgspec.Raw | None) -> str:
    """A JSON string's text; nothing for anything else."""
    if raw is None:
        return ""
    try:
        return _string.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
