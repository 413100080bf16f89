"""Count the members of a large JSON object, in steps that let others run.

A decoder reads a whole body in one call, which takes seconds for an object with a million members. So a thread counts
first whether there are too many. Window by window it reduces the text to its skeleton of brackets and commas, and
removes the values that are closed. Only bodies that may have too many members are counted.
"""

from __future__ import annotations

import asyncio
import re

MOST_MEMBERS = 10_000
LARGE_BYTES = 6 * MOST_MEMBERS
"""A smaller body cannot contain so many."""

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
    """Whether valid JSON has over `most` members, or is nested too deep. For other text any result is right."""
    at = raw.find(b"{") + 1  # without the object's own bracket: its end would remove the commas between its members
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
    """The skeleton up to the first bracket that is still open."""
    openings = [at for at in (skeleton.find(b"["), skeleton.find(b"{")) if at >= 0]
    return skeleton[: min(openings, default=len(skeleton))]
