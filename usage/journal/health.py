"""Whether somebody writes the ledger from a journal, and how far it is."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import NamedTuple

from usage.journal.backlog import backlog_of
from usage.journal.consumer import LOCK, STATE, State
from usage.journal.damaged_lines import DAMAGED
from usage.replace import read_file


class JournalHealth(NamedTuple):
    has_writer: bool
    failing: str
    """Why the database takes no rows; empty while it does."""
    caught_up_at: float
    """Unix seconds: what ended before is in the ledger. Now, where nothing waits."""
    waiting_bytes: int
    quarantined_bytes: int
    """Of lines that could not be used and are kept (`quarantine.py`)."""


def journal_health(directory: Path) -> JournalHealth:
    """Reads files; not on an event loop. Raises `OSError`."""
    state = read_file(directory / STATE, State)
    backlog = backlog_of(directory, state.read)
    caught_up_at = backlog.oldest_at or time.time()
    return JournalHealth(
        is_consumed(directory), state.failing, caught_up_at, backlog.bytes, size_of(directory / DAMAGED)
    )


def size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def is_consumed(directory: Path) -> bool:
    """Whether a consumer has the lock. To ask for it shared holds no consumer up for longer than it tries again."""
    try:
        file = (directory / LOCK).open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
