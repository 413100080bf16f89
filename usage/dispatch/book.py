"""The state of a dispatcher in a file, which any process can read, and with which the next process continues.

A process that works under a name holds the name's lock, so one process on each host does. A dispatcher that reads the
journal from Redis may work on several hosts at once; each host counts its own deliveries.
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
    """Counts are of events since the beginning, except for `failed`: calls that have to be repeated."""

    delivered: int = 0
    failed: int = 0
    dead_letters: int = 0
    backlog_events: int = 0
    oldest_at: float | None = None
    """When the oldest waiting request ended, in Unix seconds."""
    tries: int = 0
    """Failed tries since the last success."""
    retry_at: float = 0.0
    error: str = ""


def consumer_of(name: str) -> str:
    """Return the dispatcher's name as a consumer of the journal."""
    return f"dispatch-{name}"


class Book:
    """The state of one dispatcher. Only the process that holds the lock writes it."""

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
    """Return the state that was written last; an empty one if there is none, or it is damaged."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=State)
    except (FileNotFoundError, msgspec.MsgspecError):
        return State()


def states(directory: Path) -> dict[str, State]:
    """Return the states of all dispatchers that ever worked on this host, by name."""
    return {file.name.removesuffix(SUFFIX): read_state(file) for file in sorted(directory.glob(f"*{SUFFIX}"))}


@contextlib.contextmanager
def claimed(directory: Path, name: str) -> Iterator[bool]:
    """Hold the name's lock. Yields False if another process holds it. Raises `OSError`."""
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
