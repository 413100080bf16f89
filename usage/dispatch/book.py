"""What a dispatcher has done, kept in a file, so that any process can tell and the next one goes on.

Whoever works under a name has its lock; of several on one host one works. A dispatcher that reads the journal from
Redis may work on several hosts at once; each host counts its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

log = logging.getLogger("sluice.dispatch")

SUFFIX = ".state.json"


class State(msgspec.Struct):
    """Counts are of events, over all time; `failed` is of calls that have to be made again."""

    delivered: int = 0
    failed: int = 0
    dead_letters: int = 0
    backlog_events: int = 0
    oldest_at: float | None = None
    """Unix seconds, of what waits."""
    tries: int = 0
    """In vain, since something was delivered."""
    retry_at: float = 0.0
    error: str = ""


def consumer_of(name: str) -> str:
    """What a dispatcher is called among the readers of the journal."""
    return f"dispatch-{name}"


class Book:
    """The state of one name, to be written by who has the lock."""

    def __init__(self, directory: Path, name: str) -> None:
        self._file = directory / f"{name}{SUFFIX}"
        self.name = name
        self.state = read_state(self._file)

    def write(self) -> None:
        new = self._file.with_suffix(".new")
        try:
            new.write_bytes(msgspec.json.encode(self.state))
            new.replace(self._file)
        except OSError as error:
            log.warning("Dispatcher %s cannot keep its counts: %s", self.name, error.strerror)


def read_state(file: Path) -> State:
    """What was last written; nothing where there is nothing that can be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=State)
    except (FileNotFoundError, msgspec.MsgspecError):
        return State()


def states(directory: Path) -> dict[str, State]:
    """Of all names that ever worked here."""
    return {file.name.removesuffix(SUFFIX): read_state(file) for file in sorted(directory.glob(f"*{SUFFIX}"))}


@contextlib.contextmanager
def claimed(directory: Path, name: str) -> Iterator[bool]:
    """Whether the name is ours for as long as the context lasts. Raises `OSError`."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
