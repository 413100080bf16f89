"""What a request will use, before it is sent; and its prompt where nobody told its usage."""

from __future__ import annotations

import re

from proxy.exchange import Exchange
from proxy.jsonbody import JSONBody, NotAnObject

BYTES_PER_TOKEN = 4
"""Of text in UTF-8, about; docs/operations.md has how far that is from what tokenizers count."""

MOST_READ_BYTES = 4 * 1024 * 1024
"""A longer prompt is not guessed at before it is sent: that would take too long."""

OUTPUT_LIMITS = frozenset({"max_completion_tokens", "max_tokens", "max_output_tokens"})

SAID = frozenset({"messages", "input", "prompt", "instructions", "tools", "functions", "response_format", "text"})
"""The members of a request that a model reads."""

UNSEEN = frozenset({"previous_response_id", "conversation", "web_search_options", "audio"})
"""Members that make a model read or say more than the request's text tells: what was said before, what it finds."""

MAY_BE_MORE = UNSEEN | {"prompt", "tools"}
"""Members that are looked into before the request's text is taken for all that is read."""

FUNCTIONS = frozenset({"function", "custom"})
"""Tools that a model only asks for. What others (a search, a server of tools) bring, it reads, and it is charged."""

WINDOW_BYTES = 256 * 1024
"""Looked through at once."""

# Pictures, sound and files, whose bytes say nothing of their tokens. Each alternative starts at a word of its own, so
# that no text makes this slow.
_BINARY_BEGINS = re.compile(rb'"(?:data:|(?:data|file_data|b64_json)"\s{0,8}:\s{0,8}")')
_BINARY = re.compile(_BINARY_BEGINS.pattern + rb'[^"]*"')
LONGEST_BEGINNING_BYTES = 32
"""What `_BINARY_BEGINS` may need to see at once."""

# The parts of a message that are no text, wherever their bytes are.
_NO_TEXT = re.compile(
    rb'"type"\s*:\s*"(?:image_url|input_image|input_audio|file|input_file|computer_screenshot|item_reference)"'
)


def tokens_of_bytes(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)


def bytes_of(text: str) -> int:
    """In UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def estimated_prompt(body: JSONBody | None) -> int | None:
    """About how many tokens a model reads of it; None where nobody can say."""
    if body is None:
        return None
    members = body.members
    views = [memoryview(members[name]) for name in SAID if name in members]
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
        begins = _BINARY_BEGINS.search(piece)
        if begins is not None:
            until, is_binary = begins.end(), True
        else:
            until = len(piece) if at + len(piece) == len(view) else len(piece) - LONGEST_BEGINNING_BYTES
        size += until - 3 * piece.count(b"\\u", 0, until)
        at += until
    return size


def read_prompt(body: JSONBody | None) -> tuple[int | None, bool]:
    """About how many tokens a model reads of it, and whether its text is all that the model reads.

    The tokens are meant to be no less than what will be counted: English has four characters a token, but digits, signs
    and other scripts have fewer bytes a token. None: nobody can say.
    """
    if body is None:
        return None, False
    tokens, is_all = 0, True
    members = body.members
    for name, value in members.items():
        if name in SAID:
            raw = bytes(value)
            if len(raw) > MOST_READ_BYTES:
                return None, False
            # To look for the word is twenty times as fast as the expression, and many requests do not have it.
            if b'"type"' in raw and _NO_TEXT.search(raw):
                is_all = False
                raw = _BINARY.sub(b"", raw)
            tokens += -(-len(raw) // (3 if raw.isascii() else 2))
    if not MAY_BE_MORE.isdisjoint(members):
        is_all = is_all and not reads_more(body)
    return tokens or None, is_all


def reads_more(body: JSONBody) -> bool:
    """Whether the model reads what was said before, a stored prompt, or what its tools find."""
    if any(read_member(body, name) is not None for name in UNSEEN) or type(read_member(body, "prompt")) is dict:
        return True
    tools = read_member(body, "tools")
    return type(tools) is list and any(type(tool) is not dict or tool.get("type") not in FUNCTIONS for tool in tools)


def most_output(exchange: Exchange) -> int | None:
    """Tokens that the answer can have at most, where the request says so: its limit for each answer, times them."""
    body = exchange.body
    if body is None:
        return None
    if exchange.endpoint.label == "/v1/embeddings":
        return 0
    members = body.members
    if OUTPUT_LIMITS.isdisjoint(members):
        return None
    limits = [value for name in OUTPUT_LIMITS if type(value := read_member(body, name)) is int and value >= 0]
    if not limits:
        return None
    return max(limits) * answers_asked(body)


def answers_asked(body: JSONBody) -> int:
    """How many answers the provider makes, of which it may show only the best; for each prompt of a list."""
    counts = [value for name in ("n", "best_of") if type(value := read_member(body, name)) is int]
    prompts = read_member(body, "prompt")
    several = len(prompts) if isinstance(prompts, list) and prompts and isinstance(prompts[0], str | list) else 1
    return max([1, *counts]) * several


def read_member(body: JSONBody, name: str) -> object:
    try:
        return body.get(name) if name in body.members else None
    except NotAnObject:
        return None  # the provider says what is wrong with it
