"""What a request will use at most of an answer, before it is sent; and its prompt where nobody told its usage."""

from __future__ import annotations

import math

import msgspec

from proxy.admission.prompt import BINARY_BEGINS
from proxy.dialects.base import Dialect
from proxy.dialects.words import Words
from proxy.wire.jsonbody import JSONBody, NotAnObject
from proxy.wire.text import tokens_of_bytes

MOST_TOKENS = 2**31 - 1
"""No limit counts for more: no model says so much, and sums of it stay exact in every place where they are kept."""

WINDOW_BYTES = 256 * 1024
"""Looked through at once."""

LONGEST_BEGINNING_BYTES = 32
"""What `BINARY_BEGINS` may need to see at once."""

_list = msgspec.json.Decoder(list[msgspec.Raw])


def estimated_prompt(body: JSONBody | None, words: Words) -> int | None:
    """About how many tokens a model reads of it; None where nobody can say."""
    if body is None:
        return None
    if body.facts is not None:
        return body.facts.prompt_tokens
    members = body.members
    views = [memoryview(members[name]) for name in words.read if name in members]
    return tokens_of_bytes(sum(map(text_bytes, views))) if views else None


def text_bytes(view: memoryview) -> int:
    """Of JSON, without what is binary in it. `\\u4e2d` stands for three bytes.

    Window by window, so that a thread that reads a long text lets the others run in between.
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
    """Tokens that the answer can have at most, where the request says so: its limit for each answer, times them."""
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
    """How many answers the provider makes, of which it may show only the best; for each prompt of a list."""
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
    """As the most generous server would read it: 2.0 and "2" are 2 to some. 0 for what is no number."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return math.ceil(value)
    return value if type(value) is int else 0


def read_member(body: JSONBody, name: str) -> object:
    """None also for one that cannot be read: the provider says what is wrong with it."""
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
