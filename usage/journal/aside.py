"""Lines of the journal that cannot be used, kept where an operator finds them."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger("sluice.journal")

DAMAGED = "damaged.log"
MOST_BYTES = 64 * 1024 * 1024
"""Beyond it lines are counted, and no longer kept."""


def set_aside(directory: Path, line: bytes, segment: str, why: str) -> None:
    """Keep one, and say so. Raises `OSError`."""
    place = directory / DAMAGED
    log.error("A line of journal segment %s is set aside in %s: %s.", segment, place.name, why)
    with place.open("ab") as file:
        if file.tell() < MOST_BYTES:
            file.write(b"%s: %s: %s\n" % (segment.encode(), why.encode(), line))
