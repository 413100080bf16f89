"""What a server has written."""

from __future__ import annotations

import contextlib
from pathlib import Path


def contents(directory: Path) -> dict[Path, bytes]:
    """Of every file below it, but for those that a server has taken away by the time that they are read."""
    found: dict[Path, bytes] = {}
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                found[path] = path.read_bytes()
    return found
