"""A file of lines that several processes append to, and that is renamed when it has grown."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RotatedFile:
    """`path`, and beside it `path.1` (the last one before) to `path.N`."""

    def __init__(self, path: str | Path, max_bytes: int, backups: int, *, mode: int = 0o600) -> None:
        """`mode` is that of the first file, as far as the process's umask lets it be; the next ones have its mode."""
        self.path, self.max_bytes, self.backups, self._mode = Path(path), max_bytes, backups, mode

    def append(self, lines: bytes, *, durably: bool = False) -> None:
        """All of these lines or none of them; `durably`: returns when the disk has them. Raises `OSError`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            status = self.path.stat() if self.path.exists() else None
            rotates = status is not None and status.st_size > 0 and status.st_size + len(lines) > self.max_bytes
            if rotates:
                self._rotate()
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, self._mode)
            try:
                if rotates and status is not None:
                    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
                self._write(descriptor, lines)
                if durably:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _write(self, descriptor: int, lines: bytes) -> None:
        """What is left of a line that a writer did not live to finish, or of lines that did not fit, goes away
        again."""
        size = os.lseek(descriptor, 0, os.SEEK_END)
        end = _end_of_lines(descriptor, size)
        if end < size:
            os.ftruncate(descriptor, end)
        done = 0
        try:
            while done < len(lines):
                done += os.write(descriptor, lines[done:])
        except OSError:
            os.ftruncate(descriptor, end)
            raise

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
        """A lock beside the file stays when that is rotated away."""
        descriptor = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_WRONLY | os.O_CREAT, self._mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _end_of_lines(descriptor: int, size: int, step: int = 64 * 1024) -> int:
    """Where the last whole line ends."""
    end = size
    while end > 0:
        start = max(0, end - step)
        offset = os.pread(descriptor, end - start, start).rfind(b"\n")
        if offset >= 0:
            return start + offset + 1
        end = start
    return 0
