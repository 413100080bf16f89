"""What waits in a directory of segments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from usage.journal.record import Damaged, read
from usage.journal.segments import count_lines, read_lines, segments
from usage.journal.source import Backlog

COUNTED_BYTES = 64 * 1024 * 1024
"""Lines are counted so far; how many there are beyond is reckoned from that."""

FIRST_BYTES = 8 * 1024


def backlog_of(directory: Path, done: Mapping[str, int]) -> Backlog:
    """`done`: the bytes of each segment that do not wait any more. Raises `OSError`."""
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
            continue  # read to its end in this very moment
    if waiting > counted:
        events = events * waiting // counted
    return Backlog(events, waiting, oldest_at)


def ended_at(segment: Path, offset: int) -> float | None:
    """When the first request after this place ended; None where no line can be read. Raises `OSError`."""
    lines, _ = read_lines(segment, offset, FIRST_BYTES)
    for line in lines:
        try:
            event = read(line)
        except Damaged:
            continue
        return event.at + event.duration_ms / 1000
    return None
