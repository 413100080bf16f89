"""A stored answer as people look at it: its body, and the frames of a stream."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from cache.entry import Entry

BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
"""What ends an event of a stream (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""


class Frame(NamedTuple):
    ordinal: int
    """From 1."""
    at_s: float
    """When its end came, in seconds since the head of the answer."""
    event: str
    """Blank where it has no name."""
    data: str


def body_of(entry: Entry) -> bytes:
    return b"".join(text for _, text in entry.pieces)


def frames_of(entry: Entry) -> Iterator[Frame]:
    """The events of a stream, with the time at which each was complete. What follows the last one is one, too."""
    body = body_of(entry)
    ends = list(accumulate(len(text) for _, text in entry.pieces))
    times = [at_s for at_s, _ in entry.pieces]
    start = ordinal = 0
    marks = [match.span() for match in BLANK_LINE.finditer(body)]
    if not marks or marks[-1][1] < len(body):
        marks.append((len(body), len(body)))
    for end, following in marks:
        text = body[start:end]
        start = following
        if not text.strip():
            continue
        ordinal += 1
        place = min(bisect_right(ends, following - 1), len(times) - 1)
        event, data = fields_of(text.decode(errors="replace"))
        yield Frame(ordinal, round(times[place], 6), event, data)


def fields_of(text: str) -> tuple[str, str]:
    """The name and the data of an event. A comment has neither, and is shown whole."""
    event, data, has_data = "", [], False
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "event":
            event = value.strip()
        elif name == "data":
            has_data = True
            data.append(value.removeprefix(" "))
    return event, "\n".join(data) if has_data else text
