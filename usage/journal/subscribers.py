"""Who reads the spool beside the ledger: each has a directory of its own, with a hard link to every segment it wants.

The directory is the registration: from when it is there, writers link every segment that they begin into it. So each
subscriber reads at its own pace and unlinks its own names; a segment's bytes go when its last name does.
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
"""Reads the spool itself, so no other consumer has this name."""

PROGRESS = "progress.json"
DROPPED = "dropped.json"


class Progress(msgspec.Struct):
    """How far a subscriber is. Written by the subscriber alone."""

    read: dict[str, int] = {}
    """Bytes of each segment that it is done with."""
    quarantined: int = msgspec.field(default=0, name="set_aside")


class Dropped(msgspec.Struct):
    """Events taken from a subscriber that fell too far behind. Written by the ledger's process alone."""

    events: int = 0


def checked_name(name: str) -> str:
    """Raises `ValueError` for a name that no consumer but the ledger can have."""
    if not NAME.fullmatch(name) or name == LEDGER:
        raise ValueError(
            f"{name!r} cannot name a consumer of the journal: use 1 to 64 of a-z, 0-9, - and _, and not {LEDGER!r}."
        )
    return name


def subscribe(spool: Path, name: str) -> None:
    """Register a consumer that need not be there yet. Raises `OSError` and `ValueError`."""
    (spool / checked_name(name)).mkdir(parents=True, exist_ok=True)


def subscribers(spool: Path) -> list[Path]:
    """Their directories. Raises `OSError`."""
    with os.scandir(spool) as entries:
        return sorted(Path(entry.path) for entry in entries if NAME.fullmatch(entry.name) and entry.is_dir())


def hand_out(segment: Path) -> None:
    """Give every subscriber a name of a new segment, which stands in the spool already. Raises `OSError`.

    The segment stands there first, and a subscriber's directory stands there before it looks for segments: whoever of
    the two comes second sees the other.
    """
    for directory in subscribers(segment.parent):
        with contextlib.suppress(FileExistsError, FileNotFoundError):  # it found it itself, or has just been removed
            os.link(segment, directory / segment.name)


def take_open_segments(spool: Path, directory: Path) -> dict[str, int]:
    """Link what is being written now and not linked yet. Returns where each ends: what is written later is wanted.

    Raises `OSError`.
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
    """Take their oldest segments from subscribers that have more than so much to read. Raises `OSError`."""
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
        return 0  # read to its end in this very moment
