"""Read the segments of the journal, in the order in which they were begun."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".spool"

READ_BYTES = 2 * 1024 * 1024
"""Read at once: some thousands of events."""

PIECE_BYTES = 256 * 1024


class Lines(NamedTuple):
    """Whole lines of a segment, without their line ends, and the offset at which the next one begins."""

    lines: list[bytes]
    end: int


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"*{SUFFIX}"))


def read_lines(segment: Path, offset: int, at_once: int = READ_BYTES) -> Lines:
    """Return the next whole lines, about `at_once` bytes; no lines if there are none yet. Raises `OSError`."""
    with segment.open("rb") as file:
        file.seek(offset)
        data = file.read(at_once)
        while b"\n" not in data and (more := file.read(READ_BYTES)):
            data += more  # a line longer than a read
    whole, line_end, _ = data.rpartition(b"\n")
    return Lines(whole.split(b"\n"), offset + len(whole) + 1) if line_end else Lines([], offset)


def count_lines(segment: Path, offset: int = 0) -> int:
    """Return the number of whole lines behind the offset. Raises `OSError`."""
    with segment.open("rb") as file:
        file.seek(offset)
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(PIECE_BYTES), b""))


def last_line_end(segment: Path) -> int:
    """Return the offset at which the segment's whole lines end now. Raises `OSError`."""
    with segment.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - PIECE_BYTES)
            file.seek(start)
            offset = file.read(end - start).rfind(b"\n")
            if offset >= 0:
                return start + offset + 1
            end = start
    return 0


def torn_end(segment: Path, offset: int) -> bytes:
    """Return what is behind the last whole line: part of an event, if the writer died while it wrote."""
    with segment.open("rb") as file:
        file.seek(offset)
        return file.read()


def is_being_written(segment: Path) -> bool:
    """Whether its writer still has the segment open: it holds a lock on it."""
    fd = os.open(segment, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
