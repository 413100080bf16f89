"""A file of lines, rotated by size, that several processes append to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RotatedFile:
    """`path`, and beside it `path.1` (the last one before) to `path.N`."""

    def __init__(self, path: str | Path, max_bytes: int, backups: int, *, mode: int = 0o600) -> None:
        """`mode` is that of new files, as far as the process's umask lets it be."""
        self.path, self.max_bytes, self.backups, self._mode = Path(path), max_bytes, backups, mode

    def append(self, lines: bytes) -> None:
        """Whole lines, all of them into one file. Raises `OSError`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            size = self.path.stat().st_size if self.path.exists() else 0
            if size and size + len(lines) > self.max_bytes:
                self._rotate()
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, self._mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(lines)

    def _rotate(self) -> None:
        for number in range(self.backups, 0, -1):
            younger = self._backup(number - 1) if number > 1 else self.path
            if younger.exists():
                younger.replace(self._backup(number))
        if not self.backups:
            self.path.unlink()

    def _backup(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Workers and commands write to the one file; a lock beside it stays when the file is rotated away."""
        descriptor = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_WRONLY | os.O_CREAT, self._mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
