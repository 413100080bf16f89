"""Lines of the journal that cannot be used, kept where an operator finds them, and can have them put back."""

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
"""Beyond it lines are counted, and no longer kept."""


def quarantine(directory: Path, line: bytes, segment: str, why: str) -> None:
    """Keep one, and say so. Raises `OSError`."""
    place = directory / DAMAGED
    log.error("A line of journal segment %s is quarantined in %s: %s.", segment, place.name, why)
    with locked(directory), open(os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
        if file.tell() < MOST_BYTES:
            file.write(b"%s: %s: %s\n" % (segment.encode(), why.encode(errors="replace"), line))


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Nobody else changes the file meanwhile. Raises `OSError`."""
    fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
