"""The files that a server has written."""

from __future__ import annotations

import contextlib
from pathlib import Path


def contents(directory: Path) -> dict[Path, bytes]:
    """The contents of every file below the directory. Files that a server removes meanwhile are left out."""
    found: dict[Path, bytes] = {}
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                found[path] = path.read_bytes()
    return found
