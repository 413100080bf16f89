"""Reads how providers that speak OpenAI's API count tokens: OpenAI's own shape in one go, others by a second look.

The facts are those of genai-prices' extractors (`genai_prices.types.UsageExtractor`) and of the vendors' documentation.
The extractors themselves need plain dictionaries and a known vendor. A gateway in front of any server does not know the
vendor.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from proxy.dialects.base import Usage
from proxy.wire.jsonbody import decoded
from usage.writable import MOST_COUNTED

T = TypeVar("T")

COUNTS = tuple(name for name in Usage.__struct_fields__ if name != "source")

MOST = 2**53
"""A negative number, or one from here on, which is beyond any database's range, is not taken as a count."""


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    """Perplexity."""
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class ProviderUsage(msgspec.Struct):
    """A usage as the provider wrote it, with the members of all vendors."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    input_token_details: _Details | None = None
    """Of transcripts."""
    cached_tokens: int | None = None
    """Moonshot, Together, Anthropic."""
    num_cached_tokens: int | None = None
    """Mistral."""
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek."""
    cached_prompt_text_tokens: int | None = None
    """xAI."""
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    """Anthropic, beside `input_tokens`; with Databricks a part of `prompt_tokens`."""
    reasoning_tokens: int | None = None
    """Perplexity, xAI, Databricks."""
    citation_tokens: int | None = None
    """Perplexity."""


# Lax: some servers write whole numbers as 12.0.
_decoder = msgspec.json.Decoder(ProviderUsage, strict=False)
_any = msgspec.json.Decoder()
_NOTHING = _Details()
_DETAILS = [name for name in ProviderUsage.__struct_fields__ if name.endswith("_details")]
_OTHER_PLACES = ("tokens", "billed_units")
"""Members inside a usage of Cohere's own API that have the counts."""


def read_usage(raw: bytes | msgspec.Raw | None) -> Usage | None:
    """The tokens of a usage object; None for null, and for an object without counts."""
    if not raw:
        return None
    try:
        usage = usage_of(_decoder.decode(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        usage = None
    if usage is None and bytes(raw) != b"null":
        usage = of_value(lenient_json(bytes(raw)))
    return usage


def usage_of(counts: ProviderUsage) -> Usage | None:
    """Most usage has OpenAI's own members and adds up, which one comparison shows; all other usage is read closely."""
    prompt, completion = counts.prompt_tokens, counts.completion_tokens
    of_prompt, of_completion = counts.prompt_tokens_details or _NOTHING, counts.completion_tokens_details or _NOTHING
    if (
        prompt is None
        or completion is None
        or prompt + completion != counts.total_tokens
        or has_more_beside(counts)
        or of_prompt.audio_tokens
        or of_completion.audio_tokens
    ):
        return _read_closely(counts)
    cached, reasoning, written = of_prompt.cached_tokens, of_completion.reasoning_tokens, of_prompt.cache_write_tokens
    # A bitwise OR checks all counts at once: a negative one makes it negative, and one that is too large too large.
    if not 0 <= prompt | completion | (cached or 0) | (reasoning or 0) | (written or 0) <= MOST_COUNTED:
        return _read_closely(counts)
    return Usage(prompt, completion, cached, reasoning, cache_write=written)


def _read_closely(counts: ProviderUsage) -> Usage | None:
    prompt = _counted(counts.prompt_tokens)
    is_anthropic = prompt is None and counts.prompt_tokens is None
    if prompt is None:
        prompt = _counted(counts.input_tokens)
    completion = _counted(counts.completion_tokens)
    if completion is None:
        completion = _counted(counts.output_tokens)
    if prompt is None and completion is None and not counts.total_tokens:
        return Usage() if _says_nonsense(counts) else None
    of_prompt = counts.prompt_tokens_details or counts.input_tokens_details or counts.input_token_details or _NOTHING
    of_completion = counts.completion_tokens_details or counts.output_tokens_details or _NOTHING
    audio_in, audio_out = _counted(of_prompt.audio_tokens), _counted(of_completion.audio_tokens)
    usage = Usage(
        prompt,
        completion,
        _counted(of_prompt.cached_tokens),
        _counted(of_completion.reasoning_tokens),
        audio=(audio_in or 0) + (audio_out or 0) or None,
        audio_in=audio_in,
        audio_out=audio_out,
        cache_write=_counted(of_prompt.cache_write_tokens),
        picture_in=_counted(of_prompt.image_tokens),
        picture_out=_counted(of_completion.image_tokens),
    )
    total = counts.total_tokens
    if has_more_beside(counts) or total is None or total != (prompt or 0) + (completion or 0):
        _look_beside(usage, counts, of_prompt, is_anthropic=is_anthropic)
        _hold_to_total(usage, counts)
    for name in COUNTS:
        if count := getattr(usage, name):
            setattr(usage, name, min(count, MOST_COUNTED))
    return usage


def has_more_beside(counts: ProviderUsage) -> bool:
    """Whether there are members that OpenAI's own usage does not have."""
    return bool(
        counts.cached_tokens
        or counts.prompt_cache_hit_tokens
        or counts.reasoning_tokens
        or counts.citation_tokens
        or counts.cache_read_input_tokens
        or counts.cache_creation_input_tokens
        or counts.num_cached_tokens
        or counts.cached_prompt_text_tokens
        or counts.input_tokens_details
    )


def _says_nonsense(counts: ProviderUsage) -> bool:
    """Whether it has counts, none of which is usable. The tokens are then estimated."""
    return any(
        count is not None
        for count in (counts.prompt_tokens, counts.completion_tokens, counts.input_tokens, counts.output_tokens)
    )


def _look_beside(usage: Usage, counts: ProviderUsage, of_prompt: _Details, *, is_anthropic: bool) -> None:
    """Read counts that OpenAI has in the details, and other vendors beside the counts."""
    read, written = _counted(counts.cache_read_input_tokens), _counted(counts.cache_creation_input_tokens)
    if is_anthropic and usage.prompt is not None and (read or written):
        usage.prompt += (read or 0) + (written or 0)
    if not usage.cached:
        for count in (
            *(of_prompt.cache_read_input_tokens, counts.prompt_cache_hit_tokens, counts.cached_tokens, read),
            *(counts.num_cached_tokens, counts.cached_prompt_text_tokens),
        ):
            if count and (cached := _counted(count)):
                usage.cached = cached
                break
    if not usage.cache_write and written:
        usage.cache_write = written
    if not usage.reasoning and (reasoning := _counted(counts.reasoning_tokens)):
        usage.reasoning = reasoning


def _hold_to_total(usage: Usage, counts: ProviderUsage) -> None:
    """If the total is more than the parts, the total applies: xAI and Gemini count reasoning beside the completion."""
    prompt, completion, reasoning = usage.prompt or 0, usage.completion or 0, usage.reasoning or 0
    total = _counted(counts.total_tokens)
    if citations := _counted(counts.citation_tokens):
        # Perplexity's total contains neither citations nor reasoning.
        completion += citations + reasoning
        usage.completion = completion
    elif total is None and reasoning > completion:
        completion += reasoning
        usage.completion = completion
    if total is None or total <= prompt + completion:
        return
    surplus = total - prompt - completion
    if usage.prompt is None and usage.completion is None:
        usage.prompt = total  # an embedding; if the answer has text, its tokens are estimated besides
    elif usage.prompt is None:
        usage.prompt = surplus
    elif surplus == (counts.cache_read_input_tokens or 0) + (counts.cache_creation_input_tokens or 0):
        usage.prompt = prompt + surplus
    else:
        usage.completion = completion + surplus
        if completion and not reasoning:
            usage.reasoning = surplus


def _counted(tokens: int | None) -> int | None:
    return tokens if tokens is not None and 0 <= tokens < MOST else None


def lenient_json(raw: bytes) -> Any:
    """The value of JSON that may contain NaN, Infinity and bytes that are not UTF-8, as some servers write it. None if
    it is no JSON.
    """
    try:
        return _any.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(raw.decode("utf-8", "replace"), parse_constant=_as_null)
    except (ValueError, RecursionError):
        return None


def _as_null(name: str) -> None:
    """NaN and Infinity become null: they cannot be counts."""


def mend(raw: bytes) -> bytes | None:
    """Lenient JSON, rewritten so that every decoder accepts it, without a loss for what is read here. None if it is no
    object.
    """
    value = lenient_json(raw)
    return json.dumps(value).encode() if type(value) is dict else None


def decoded_or_mended(decoder: msgspec.json.Decoder[T], raw: bytes) -> T | None:
    """What the decoder makes of JSON, or of its mended form if it is not valid; None if it has another shape."""
    try:
        return decoded(decoder, raw)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        readable = mend(raw)
    try:
        return None if readable is None else decoded(decoder, readable)
    except msgspec.MsgspecError:
        return None


def _read_leniently(document: Any) -> ProviderUsage | None:
    """The counts of a usage object. A value that is no count is left out, and hides no other."""
    if type(document) is not dict:
        return None
    counts = ProviderUsage()
    for name in ProviderUsage.__struct_fields__:
        value = document.get(name)
        if name in _DETAILS:
            if type(value) is dict:
                details = {each: _as_count(value.get(each)) for each in _Details.__struct_fields__}
                setattr(counts, name, _Details(**details))
        else:
            setattr(counts, name, _as_count(value))
    return counts


def _as_count(value: Any) -> int | None:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    return int(value) if type(value) is str and value.isdecimal() and len(value) < 20 else None


def find_usage(answer: Any) -> Usage | None:
    """The usage from one of the places where an answer may have it: at its top, in its first choice (Moonshot), in
    `x_groq`, in `result` (Cloudflare), in `meta` (Cohere's embeddings).
    """
    if type(answer) is not dict:
        return None
    if usage := of_value(answer.get("usage")):
        return usage
    choices = answer.get("choices")
    places = [*(choices[:1] if type(choices) is list else ()), answer.get("x_groq"), answer.get("result")]
    for place in places:
        if type(place) is dict and (usage := of_value(place.get("usage"))):
            return usage
    return of_value(answer.get("meta"))


def of_value(document: Any) -> Usage | None:
    counts = _read_leniently(document)
    if counts is None:
        return None
    if usage := usage_of(counts):
        return usage
    for place in _OTHER_PLACES:
        counts = _read_leniently(document.get(place))
        if counts is not None and (usage := usage_of(counts)) is not None:
            usage.cached = usage.cached or _counted(_as_count(document.get("cached_tokens")))
            return usage
    return None
