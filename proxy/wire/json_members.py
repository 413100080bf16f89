"""How many members a large JSON object has, counted in steps that let others run.

A decoder works on the whole of a body in one go, and on an object with a million members for seconds. So whether there
are too many is found out before, in a thread: window by window the text is reduced to its skeleton of brackets and
commas, and what is closed in it is taken away. Only bodies that may have so many pay for it.
"""

from __future__ import annotations

import asyncio
import re

MOST_MEMBERS = 10_000
LARGE_BYTES = 6 * MOST_MEMBERS
"""A smaller body has no room for so many."""

MOST_DEPTH = 500
TOO_MANY = f"The body has more than {MOST_MEMBERS:,} members at its top level, or is nested too deep."
WINDOW_BYTES = 64 * 1024

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_REST_OF_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_SKELETON = bytes(set(range(256)) - set(b'[]{},"'))
_CLOSED = re.compile(rb"[\[{],*[\]}]")


async def has_too_many_members(raw: bytes) -> bool:
    """Whether a body has over `MOST_MEMBERS` members at its top level, or is nested beyond `MOST_DEPTH`."""
    if len(raw) < LARGE_BYTES or raw.count(b":") <= MOST_MEMBERS:
        return False
    return await asyncio.to_thread(exceeds, raw)


def exceeds(raw: bytes, most: int = MOST_MEMBERS, window: int = WINDOW_BYTES) -> bool:
    """Of valid JSON; of other text any answer is right."""
    at = raw.find(b"{") + 1  # the object's own bracket stays out, or its end would take its commas away
    skeleton, members, in_string = b"", 1, False
    while at < len(raw):
        piece = raw[at : at + window]
        at += window
        while (len(piece) - len(piece.rstrip(b"\\"))) % 2 and at < len(raw):  # an escape is not cut in two
            piece += raw[at : at + 1]
            at += 1
        if in_string:
            rest = _REST_OF_STRING.match(piece)
            if rest is None:
                continue
            piece = piece[rest.end() :]
        piece = _STRING.sub(b"", piece)
        begun, quote, _ = piece.partition(b'"')
        in_string = bool(quote)
        skeleton += begun.translate(None, _NO_SKELETON)
        for _ in range(MOST_DEPTH):
            skeleton, closed = _CLOSED.subn(b"", skeleton)
            if not closed:
                break
        else:
            return True
        members += _at_first_level(skeleton).count(b",")
        skeleton = skeleton.replace(b",", b"")
        if members > most or len(skeleton) > MOST_DEPTH:
            return True
    return False


def _at_first_level(skeleton: bytes) -> bytes:
    """Without what is below it and still open."""
    openings = [at for at in (skeleton.find(b"["), skeleton.find(b"{")) if at >= 0]
    return skeleton[: min(openings, default=len(skeleton))]
