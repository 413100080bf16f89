"""Whether a process writes the ledger from this host's journal, and how far it has come."""

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
    """Unix seconds: requests that ended before are in the ledger. The present time if nothing waits."""
    waiting_bytes: int
    quarantined_bytes: int
    """Bytes of lines that could not be used and are kept (`quarantine.py`)."""


def journal_health(directory: Path) -> JournalHealth:
    """Return the health of a journal. Reads files, so it must not run on an event loop. Raises `OSError`."""
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
    """Whether a consumer holds the lock.

    This takes the lock shared for a moment. A consumer that fails to get it then tries again after `EVERY_S`.
    """
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
