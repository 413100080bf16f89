"""Subscribers: the consumers of the spool besides the ledger. Each has a directory with hard links to its segments.

The directory is the registration: once it exists, writers link every segment that they begin into it. So each
subscriber reads at its own pace and removes its own links. The disk space is free when the last link is gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from usage.journal.segments import count_lines, is_being_written, last_line_end, segments
from usage.replace import read_file, replace_file

log = logging.getLogger("sluice.journal")

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
LEDGER = "ledger"
"""The ledger's name as a consumer. It reads the spool itself, so no subscriber may have this name."""

PROGRESS = "progress.json"
DROPPED = "dropped.json"


class Progress(msgspec.Struct):
    """How far a subscriber has read. Only the subscriber writes it."""

    read: dict[str, int] = {}
    """Bytes of each segment that are done."""
    quarantined: int = msgspec.field(default=0, name="set_aside")


class Dropped(msgspec.Struct):
    """Events that were dropped because a subscriber was too far behind. Only the ledger process writes it."""

    events: int = 0


def checked_name(name: str) -> str:
    """Return the name. Raises `ValueError` if a subscriber cannot have it."""
    if not NAME.fullmatch(name) or name == LEDGER:
        raise ValueError(
            f"{name!r} cannot name a consumer of the journal: use 1 to 64 of a-z, 0-9, - and _, and not {LEDGER!r}."
        )
    return name


def subscribe(spool: Path, name: str) -> None:
    """Register a consumer, which need not run yet. Raises `OSError` and `ValueError`."""
    (spool / checked_name(name)).mkdir(parents=True, exist_ok=True)


def subscribers(spool: Path) -> list[Path]:
    """Return the subscribers' directories. Raises `OSError`."""
    with os.scandir(spool) as entries:
        return sorted(Path(entry.path) for entry in entries if NAME.fullmatch(entry.name) and entry.is_dir())


def hand_out(segment: Path) -> None:
    """Link a new segment, which is in the spool already, into every subscriber's directory. Raises `OSError`.

    The writer creates the segment before it lists directories, and a subscriber creates its directory before it lists
    segments. So whichever of the two comes second sees the other.
    """
    for directory in subscribers(segment.parent):
        with contextlib.suppress(FileExistsError, FileNotFoundError):  # linked by itself, or just removed
            os.link(segment, directory / segment.name)


def take_open_segments(spool: Path, directory: Path) -> dict[str, int]:
    """Link the segments that are being written now and are not linked yet.

    Returns the present end of each, because a new subscriber gets only what is written later. Raises `OSError`.
    """
    ends: dict[str, int] = {}
    for segment in segments(spool):
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            if is_being_written(segment):
                end = last_line_end(segment)
                os.link(segment, directory / segment.name)
                ends[segment.name] = end
    return ends


def bound_backlogs(spool: Path, most_bytes: int) -> None:
    """Remove the oldest segments of subscribers that have more than `most_bytes` to read. Raises `OSError`."""
    for directory in subscribers(spool):
        done = read_file(directory / PROGRESS, Progress).read
        waiting = {segment: _waiting_bytes(segment, done) for segment in segments(directory)}
        excess = sum(waiting.values()) - most_bytes
        dropped = 0
        for segment, size in waiting.items():
            if excess <= 0:
                break
            if is_being_written(segment):
                continue
            dropped += count_lines(segment, done.get(segment.name, 0))
            segment.unlink()
            excess -= size
        if dropped:
            log.error(
                "Consumer %s of the journal has more to read than JOURNAL_BACKLOG_MAX_BYTES; its oldest %d events are "
                "dropped. Start it, or remove %s if nobody wants them.",
                directory.name,
                dropped,
                directory,
            )
            before = read_file(directory / DROPPED, Dropped).events
            replace_file(directory / DROPPED, Dropped(before + dropped))


def _waiting_bytes(segment: Path, done: Mapping[str, int]) -> int:
    try:
        return max(0, segment.stat().st_size - done.get(segment.name, 0))
    except FileNotFoundError:
        return 0  # its reader has just finished and removed it
