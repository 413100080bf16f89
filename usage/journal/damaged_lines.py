"""Keep lines of the journal that cannot be used in a file, where an operator can list them and put them back."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger("sluice.journal")

DAMAGED = "damaged.log"
LOCK = "damaged.lock"
MOST_BYTES = 64 * 1024 * 1024
"""Beyond this size lines are only logged and counted."""


def quarantine(directory: Path, line: bytes, segment: str, why: str) -> None:
    """Append a line to the file and log it. Raises `OSError`."""
    place = directory / DAMAGED
    log.error("A line of journal segment %s is quarantined in %s: %s.", segment, place.name, why)
    with locked(directory), open(os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
        if file.tell() < MOST_BYTES:
            file.write(b"%s: %s: %s\n" % (segment.encode(), why.encode(errors="replace"), line))


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock under which the file is changed. Raises `OSError`."""
    fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
