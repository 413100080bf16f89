"""What a model reads of a request: how many tokens about, and how many at most where its text is all of it.

A tokenizer makes at most one token of each byte, so the bytes of the text are a bound, whatever is written in them.
Pictures, sound, files, and what a provider keeps or finds have no such bound. A request counts as text alone only where
each of its members is known to bring nothing else: whatever is not known here has no bound.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec
from msgspec import Raw

from proxy.wire.jsonbody import JSONBody, decoded

MOST_READ_BYTES = 4 * 1024 * 1024
"""A longer prompt is not looked into before it is sent: that would take too long."""

TEMPLATE_TOKENS = 24
"""What a provider writes around the messages (marks, a date), beyond the JSON's own names and signs in their place."""

TOOL_TOKENS = 512
"""The instructions that go with tools. Vendors tell of 346 at most."""

SAID = frozenset(
    {
        *("messages", "input", "prompt", "suffix", "instructions", "tools", "functions", "tool_choice"),
        *("function_call", "response_format", "text"),
    }
)
"""The members of a request that a model reads."""

UNREAD = frozenset(
    {
        *("model", "stream", "stream_options", "store", "metadata", "user", "safety_identifier", "service_tier"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "stop", "seed", "echo"),
        *("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"),
        *("logprobs", "top_logprobs", "logit_bias", "parallel_tool_calls", "reasoning_effort", "reasoning"),
        *("verbosity", "include", "truncation", "prompt_cache_key", "prompt_cache_retention", "encoding_format"),
        *("dimensions", "background"),
    }
)
"""Members that neither bring anything to read nor make more of the answer than its limit says."""

FUNCTIONS = frozenset({"function", "custom"})
"""Tools that a model only asks for. What others (a search, a server of tools) bring, it reads, and it is charged."""

ITEM_MEMBERS = frozenset(
    {
        *("role", "name", "type", "id", "status", "content", "refusal", "tool_calls", "tool_call_id", "function_call"),
        *("call_id", "arguments", "input", "output", "reasoning", "reasoning_content", "summary", "cache_control"),
    }
)
"""Members of a message, or of an item of a response's input, that are text or little else."""

ITEM_TYPES = frozenset(
    {
        *("message", "reasoning", "function_call", "function_call_output"),
        *("custom_tool_call", "custom_tool_call_output"),
    }
)
PART_MEMBERS = frozenset({"type", "text", "refusal", "annotations", "logprobs", "cache_control"})
PART_TYPES = frozenset({"text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"})
MAY_HAVE_PARTS = ("content", "output", "summary", "reasoning", "reasoning_content")

# Pictures, sound and files, whose bytes say nothing of their tokens. Each alternative starts at a word of its own, so
# that no text makes this slow.
BINARY_BEGINS = re.compile(rb'"(?:data:|(?:data|file_data|b64_json)"\s{0,8}:\s{0,8}")')
_BINARY = re.compile(BINARY_BEGINS.pattern + rb'[^"]*"')

_any = msgspec.json.Decoder()
_objects = msgspec.json.Decoder(list[dict[str, Raw]])
_object = msgspec.json.Decoder(dict[str, Raw])
_values = msgspec.json.Decoder(list[Raw])
_NULL = b"null"


class Prompt(NamedTuple):
    tokens: int | None
    """About so many; None where nobody can say."""

    most: int | None
    """No more than so many; None: there may be more to read than anybody sees here."""


UNREADABLE = Prompt(None, None)


def read_prompt(body: JSONBody | None) -> Prompt:
    """Of a request that has not been sent yet.

    The tokens are meant to be no less than what will be counted: English has four characters a token, but digits, signs
    and other scripts have fewer bytes a token.
    """
    if body is None:
        return UNREADABLE
    said = {name: bytes(value) for name, value in body.members.items() if name in SAID}
    size = sum(map(len, said.values()))
    if size > MOST_READ_BYTES:
        return UNREADABLE
    is_all = is_text_alone(body, said)
    tokens = 0
    for raw in said.values():
        text = raw if is_all else _BINARY.sub(b"", raw)
        tokens += -(-len(text) // (3 if text.isascii() else 2))
    if not is_all:
        return Prompt(tokens or None, None)
    if "tools" in said or "functions" in said:
        size += TOOL_TOKENS
    return Prompt(tokens or None, size + TEMPLATE_TOKENS)


def is_text_alone(body: JSONBody, said: dict[str, bytes]) -> bool:
    """Whether the model reads the text of these members and nothing else."""
    for name, value in body.members.items():
        if name not in SAID and name not in UNREAD and bytes(value) != _NULL and not says_text(name, value):
            return False
    return all(member_is_text(name, raw) for name, raw in said.items())


def says_text(name: str, value: Raw) -> bool:
    """`"modalities": ["text"]` is what is meant without it."""
    return name == "modalities" and _read(value) == ["text"]


def member_is_text(name: str, raw: bytes) -> bool:
    try:
        if name == "messages":
            return raw == _NULL or all(item_is_text(item) for item in decoded(_objects, raw))
        if name in ("input", "prompt", "instructions"):
            return raw[:1] in (b'"', b"n") or all(input_is_text(value) for value in decoded(_values, raw))
        if name in ("tools", "functions"):
            return raw == _NULL or all(tool_is_function(name, tool) for tool in decoded(_objects, raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False  # of a shape that is not known here
    return True


def input_is_text(value: Raw) -> bool:
    """A text, a token's number, a list of these, or an item of a response's input."""
    raw = bytes(value)
    if raw[:1] == b"{":
        return item_is_text(decoded(_object, raw))
    return raw[:1] != b"[" or (b"{" not in raw and b'"' not in raw)


def item_is_text(item: dict[str, Raw]) -> bool:
    for name, value in item.items():
        if name not in ITEM_MEMBERS and bytes(value) != _NULL:
            return False
    if "type" in item and _read(item["type"]) not in ITEM_TYPES:
        return False
    return all(content_is_text(item[name]) for name in MAY_HAVE_PARTS if name in item)


def content_is_text(value: Raw) -> bool:
    raw = bytes(value)
    if raw[:1] == b"[":
        return all(part_is_text(part) for part in decoded(_objects, raw))
    return raw[:1] in (b'"', b"n")


def part_is_text(part: dict[str, Raw]) -> bool:
    if not PART_MEMBERS.issuperset(part) or "type" not in part or _read(part["type"]) not in PART_TYPES:
        return False
    return all(bytes(part[name])[:1] == b'"' for name in ("text", "refusal") if name in part)


def tool_is_function(name: str, tool: dict[str, Raw]) -> bool:
    """`functions` are the older name for tools that are all functions."""
    return name == "functions" or ("type" in tool and _read(tool["type"]) in FUNCTIONS)


def _read(value: Raw) -> object:
    found = _any.decode(value)
    return found if isinstance(found, str | list) else None
