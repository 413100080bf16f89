"""Whether somebody writes the ledger from a journal, and how far it is."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import NamedTuple

from usage.journal.backlog import backlog_of
from usage.journal.consumer import LOCK, STATE, State
from usage.journal.replace import read_file


class JournalHealth(NamedTuple):
    has_writer: bool
    failing: str
    """Why the database takes no rows; empty while it does."""
    caught_up_at: float
    """Unix seconds: when all that was in the journal was in the ledger. 0: not since the writer began."""
    waiting_bytes: int


def journal_health(directory: Path) -> JournalHealth:
    """Reads files; not on an event loop. Raises `OSError`."""
    state = read_file(directory / STATE, State)
    waiting = backlog_of(directory, state.read).bytes
    has_writer = is_consumed(directory)
    caught_up_at = state.caught_up_at if waiting or not has_writer or state.failing else time.time()
    return JournalHealth(has_writer, state.failing, caught_up_at, waiting)


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
