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

from proxy.dialects.words import Words
from proxy.wire.jsonbody import JSONBody, decoded

MOST_READ_BYTES = 4 * 1024 * 1024
"""A longer prompt is not looked into before it is sent: that would take too long."""

TEMPLATE_TOKENS = 24
"""What a provider writes around the messages (marks, a date), beyond the JSON's own names and signs in their place."""

TOOL_TOKENS = 512
"""The instructions that go with tools. Vendors tell of 346 at most."""

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


def read_prompt(body: JSONBody | None, words: Words) -> Prompt:
    """Of a request that has not been sent yet.

    The tokens are meant to be no less than what will be counted: English has four characters a token, but digits, signs
    and other scripts have fewer bytes a token.
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
    """`"modalities": ["text"]` is what is meant without it."""
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
