"""Count the events and bytes in a directory of segments that a consumer has not read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from usage.journal.record import Damaged, read
from usage.journal.segments import count_lines, read_lines, segments
from usage.journal.source import Backlog

COUNTED_BYTES = 64 * 1024 * 1024
"""Lines are counted in about so many bytes. The number in the rest is extrapolated from them."""

FIRST_BYTES = 8 * 1024


def backlog_of(directory: Path, done: Mapping[str, int]) -> Backlog:
    """Return what waits in the directory. `done` has the bytes of each segment that were read. Raises `OSError`."""
    events = counted = waiting = 0
    oldest_at: float | None = None
    for segment in segments(directory):
        offset = done.get(segment.name, 0)
        try:
            size = segment.stat().st_size - offset
            if size <= 0:
                continue
            waiting += size
            if counted < COUNTED_BYTES:
                events += count_lines(segment, offset)
                counted += size
            oldest_at = oldest_at or ended_at(segment, offset)
        except FileNotFoundError:
            continue  # its reader has just finished and removed it
    if waiting > counted:
        events = events * waiting // counted
    return Backlog(events, waiting, oldest_at)


def ended_at(segment: Path, offset: int) -> float | None:
    """Return when the first request behind this offset ended, in Unix seconds; None if no line can be read.

    Raises `OSError`.
    """
    lines, _ = read_lines(segment, offset, FIRST_BYTES)
    for line in lines:
        try:
            event = read(line)
        except Damaged:
            continue
        return event.at + event.duration_ms / 1000
    return None
