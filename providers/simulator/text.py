"""The text of answers: words of a fixed corpus, in an order that the request's hash chooses.

One token is one word, with the blank before it. Nothing here is random, or depends on the process.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256

# Some words are not ASCII on purpose: they show whether a relay splits UTF-8 characters.
TEXT = (
    "water runs down the stone channel and turns a wheel before it reaches the quiet pond where herons wait "
    "every gate opens a little so that each field takes only what was promised while the keeper writes down "
    "how much has passed café naïve über señor smörgås 水 門 川 💧 morning light falls on old timber beams "
    "a lever lifts slowly then holds until evening when tools rest beside their owner rain fills upper basins "
    "first lower ones later nothing overflows because someone counted early measured often and closed in time "
    "then everyone went home smiling"
)
# The number of words is prime, so every stride visits all of them.
CORPUS = TEXT.split()
# Few enough to keep all orders in memory.
STRIDES = 8
LETTERS = re.compile(r"\s*\S+")


def words(seed: bytes, count: int) -> list[str]:
    """`count` tokens, in an order that the seed chooses."""
    cycle = cycle_of(*order_of(seed))
    tokens = (cycle * (count // len(cycle) + 1))[:count]
    return begin(tokens)


def words_of_size(seed: bytes, size: int) -> list[str]:
    """Tokens whose text has about `size` bytes; none if it is zero or negative."""
    cycle = cycle_of(*order_of(seed))
    rounds, rest = divmod(max(size, 0), sum(len(word.encode()) for word in cycle))
    tokens = list(cycle * rounds)
    for word in cycle:
        if rest <= 0:
            break
        tokens.append(word)
        rest -= len(word.encode())
    return begin(tokens)


def begin(tokens: list[str] | tuple[str, ...]) -> list[str]:
    """The tokens, without the blank before the first word."""
    return [tokens[0].lstrip(), *tokens[1:]] if tokens else []


def order_of(seed: bytes) -> tuple[int, int]:
    digest = sha256(seed).digest()
    return digest[0] % len(CORPUS), 1 + digest[1] % STRIDES


@lru_cache(maxsize=STRIDES * len(CORPUS))
def cycle_of(start: int, stride: int) -> tuple[str, ...]:
    """All words in one order, each with the blank before it."""
    return tuple(f" {CORPUS[(start + step * stride) % len(CORPUS)]}" for step in range(len(CORPUS)))


def as_json_object(tokens: list[str]) -> list[str]:
    """The tokens of a JSON object with these words as its only value. The key is the first token."""
    inner = [*tokens] or [""]
    inner[0] = ' "' + inner[0]
    inner[-1] += '"}'
    return ['{"answer":', *inner]


def stop_at(tokens: list[str], stops: list[str]) -> list[str]:
    """The tokens before the first of the stop sequences."""
    text = "".join(tokens)
    ends = [end for stop in stops if stop and (end := text.find(stop)) >= 0]
    return split(text[: min(ends)]) if ends else tokens


def split(text: str) -> list[str]:
    """The tokens of a text. Blanks at its end belong to the last word."""
    tokens = LETTERS.findall(text)
    rest = text[sum(map(len, tokens)) :]
    if rest and tokens:
        tokens[-1] += rest
    return tokens
