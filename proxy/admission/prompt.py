"""Estimate how many tokens a model reads of a request, and find the most that it can be if it is text alone.

A tokenizer makes at most one token of each byte, so the bytes of any text are a bound. Pictures, sound, files, and what
a provider stores or finds have no such bound. A request counts as text alone only if each of its members is known to
add nothing else, so a request with an unknown member has no bound.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec
from msgspec import Raw

from proxy.dialects.words import Words
from proxy.wire.jsonbody import JSONBody, decoded

MOST_READ_BYTES = 4 * 1024 * 1024
"""A longer prompt is not read before it is sent, because that would take too long."""

TEMPLATE_TOKENS = 24
"""Tokens that a provider adds around the messages (marks, a date), beyond the JSON's names and signs that they replace.
"""

TOOL_TOKENS = 512
"""Tokens of the instructions that a provider adds for tools. Vendors document 346 at most."""

# Pictures, sound and files, whose size does not tell their tokens. Each alternative starts with another word, so that
# no text makes the search slow.
BINARY_BEGINS = re.compile(rb'"(?:data:|(?:data|file_data|b64_json)"\s{0,8}:\s{0,8}")')
_BINARY = re.compile(BINARY_BEGINS.pattern + rb'[^"]*"')

_any = msgspec.json.Decoder()
_objects = msgspec.json.Decoder(list[dict[str, Raw]])
_object = msgspec.json.Decoder(dict[str, Raw])
_values = msgspec.json.Decoder(list[Raw])
_NULL = b"null"


class Prompt(NamedTuple):
    tokens: int | None
    """An estimate; None if there is none."""

    most: int | None
    """An upper bound; None if the model may read more than Sluice can see."""


UNREADABLE = Prompt(None, None)


def read_prompt(body: JSONBody | None, words: Words) -> Prompt:
    """Estimate the prompt of a request before it is sent.

    The estimate should be no lower than the later count: English has four characters per token, but digits, signs and
    other scripts have fewer bytes per token.
    """
    if body is None:
        return UNREADABLE
    texts = {name: bytes(value) for name, value in body.members.items() if name in words.read}
    size = sum(map(len, texts.values()))
    if size > MOST_READ_BYTES:
        return UNREADABLE
    is_all = is_text_alone(body, texts, words)
    tokens = 0
    for raw in texts.values():
        text = raw if is_all else _BINARY.sub(b"", raw)
        tokens += -(-len(text) // (3 if text.isascii() else 2))
    if not is_all:
        return Prompt(tokens or None, None)
    if "tools" in texts or "functions" in texts:
        size += TOOL_TOKENS
    return Prompt(tokens or None, size + TEMPLATE_TOKENS)


def is_text_alone(body: JSONBody, texts: dict[str, bytes], words: Words) -> bool:
    """Whether the model reads the text of these members and nothing else."""
    for name, value in body.members.items():
        is_named = name in words.read or name in words.unread
        if not is_named and bytes(value) != _NULL and not says_text(name, value):
            return False
    return all(member_is_text(name, raw, words) for name, raw in texts.items())


def says_text(name: str, value: Raw) -> bool:
    """Whether the member is `"modalities": ["text"]`, which is the default."""
    return name == "modalities" and _read(value) == ["text"]


def member_is_text(name: str, raw: bytes, words: Words) -> bool:
    try:
        if name == "messages":
            return raw == _NULL or all(item_is_text(item, words) for item in decoded(_objects, raw))
        if name in ("input", "prompt", "instructions"):
            return raw[:1] in (b'"', b"n") or all(input_is_text(value, words) for value in decoded(_values, raw))
        if name in ("tools", "functions"):
            return raw == _NULL or all(tool_is_function(name, tool, words) for tool in decoded(_objects, raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False  # of a shape that is not known here
    return True


def input_is_text(value: Raw, words: Words) -> bool:
    """A text, a token's number, a list of these, or an item of a response's input."""
    raw = bytes(value)
    if raw[:1] == b"{":
        return item_is_text(decoded(_object, raw), words)
    return raw[:1] != b"[" or (b"{" not in raw and b'"' not in raw)


def item_is_text(item: dict[str, Raw], words: Words) -> bool:
    for name, value in item.items():
        if name not in words.item_members and bytes(value) != _NULL:
            return False
    if "type" in item and _read(item["type"]) not in words.item_types:
        return False
    return all(content_is_text(item[name], words) for name in words.may_have_parts if name in item)


def content_is_text(value: Raw, words: Words) -> bool:
    raw = bytes(value)
    if raw[:1] == b"[":
        return all(part_is_text(part, words) for part in decoded(_objects, raw))
    return raw[:1] in (b'"', b"n")


def part_is_text(part: dict[str, Raw], words: Words) -> bool:
    if not words.part_members.issuperset(part) or "type" not in part or _read(part["type"]) not in words.part_types:
        return False
    return all(bytes(part[name])[:1] == b'"' for name in ("text", "refusal") if name in part)


def tool_is_function(name: str, tool: dict[str, Raw], words: Words) -> bool:
    """`functions` are the older name for tools that are all functions."""
    return name == "functions" or ("type" in tool and _read(tool["type"]) in words.functions)


def _read(value: Raw) -> object:
    content = _any.decode(value)
    return content if isinstance(content, str | list) else None
