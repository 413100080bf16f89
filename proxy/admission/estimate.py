"""The most tokens that an answer can have, before the request is sent; and the prompt, if no provider counted it."""

from __future__ import annotations

import math

import msgspec

from proxy.admission.prompt import BINARY_BEGINS
from proxy.dialects.base import Dialect
from proxy.dialects.words import Words
from proxy.wire.jsonbody import JSONBody, NotAnObject
from proxy.wire.text import tokens_of_bytes

MOST_TOKENS = 2**31 - 1
"""Larger output limits are taken as this. No model writes so much, and sums stay exact wherever they are kept."""

WINDOW_BYTES = 256 * 1024
"""Searched in one step."""

LONGEST_BEGINNING_BYTES = 32
"""No match of `BINARY_BEGINS` is longer."""

_list = msgspec.json.Decoder(list[msgspec.Raw])


def estimated_prompt(body: JSONBody | None, words: Words) -> int | None:
    """About how many tokens a model reads of the body; None if this is not known."""
    if body is None:
        return None
    if body.facts is not None:
        return body.facts.prompt_tokens
    members = body.members
    views = [memoryview(members[name]) for name in words.read if name in members]
    return tokens_of_bytes(sum(map(text_bytes, views))) if views else None


def text_bytes(view: memoryview) -> int:
    """The bytes of text in JSON, without binary data. An escape such as `\\u4e2d` counts as three bytes.

    The text is searched window by window, so that a thread that reads a long one lets others run in between.
    """
    size, at, is_binary = 0, 0, False
    while at < len(view):
        piece = bytes(view[at : at + WINDOW_BYTES])
        if is_binary:
            end = piece.find(b'"')
            is_binary = end < 0
            at += len(piece) if is_binary else end
            continue
        begins = BINARY_BEGINS.search(piece)
        if begins is not None:
            until, is_binary = begins.end(), True
        else:
            until = len(piece) if at + len(piece) == len(view) else len(piece) - LONGEST_BEGINNING_BYTES
        size += until - 3 * piece.count(b"\\u", 0, until)
        at += until
    return size


def most_output(dialect: Dialect, body: JSONBody | None) -> int | None:
    """The most tokens that all answers can have: the request's limit for one answer, times their number.

    None if the request names no limit, or one that servers read differently.
    """
    if body is None:
        return None
    if not dialect.makes_text:
        return 0
    members = body.members
    limits = []
    for name in dialect.output_limits:
        if name not in members or (value := read_member(body, name)) is None:
            continue
        if type(value) is not int or value <= 0:
            return None  # one server refuses it, another ignores it, to a third it means "no limit"
        limits.append(value)
    # A server that knows both names may take either.
    return min(max(limits) * answer_count(body), MOST_TOKENS) if limits else None


def answer_count(body: JSONBody) -> int:
    """How many answers the provider makes to all prompts, although it may return only the best of them."""
    count = 1
    if "n" in body.members or "best_of" in body.members:
        count = max(count, as_count(read_member(body, "n")), as_count(read_member(body, "best_of")))
    return min(count * prompt_count(body), MOST_TOKENS)


def prompt_count(body: JSONBody) -> int:
    if "prompt" in body.members:
        if body.facts is not None:
            return body.facts.prompts
        prompts = read_member(body, "prompt")
        if isinstance(prompts, list) and any(isinstance(prompt, str | list) for prompt in prompts):
            return len(prompts)
    return 1


def as_count(value: object) -> int:
    """The number as the most lenient server reads it: to some, 2.0 and "2" are 2. It is 0 if `value` is no number."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return math.ceil(value)
    return value if type(value) is int else 0


def read_member(body: JSONBody, name: str) -> object:
    """A member's value. None if it is missing, or cannot be read: then the provider says what is wrong with it."""
    try:
        return body.get(name) if name in body.members else None
    except NotAnObject:
        return None


def inputs_of(body: JSONBody | None) -> int:
    """How many embeddings a request asks for. One text, or one list of a text's tokens, is one."""
    if body is not None and body.facts is not None:
        return body.facts.inputs
    raw = body.raw("input") if body is not None else None
    if raw is None or not raw.lstrip().startswith(b"["):
        return 1
    try:
        items = _list.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 1  # the provider says what is wrong with it
    return 1 if not items or bytes(items[0]).lstrip()[:1].isdigit() else len(items)
