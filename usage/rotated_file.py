"""A file to which several processes append lines. It is renamed when it reaches its bound."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RotatedFile:
    """The file `path`, and older ones beside it: `path.1` (the newest of them) to `path.N`."""

    def __init__(self, path: str | Path, max_bytes: int, backups: int, *, mode: int = 0o600) -> None:
        """`mode` is the mode of the first file, subject to the umask. Later files get the mode of the one before."""
        self.path, self.max_bytes, self.backups, self._mode = Path(path), max_bytes, backups, mode

    def append(self, lines: bytes, *, durably: bool = False) -> None:
        """Append all of these lines or none. If `durably`, they are on the disk when this returns. Raises `OSError`."""
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
        """Write lines behind the last whole line.

        This removes an incomplete line of a writer that died. If the disk is full, what was written is removed again.
        """
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
        """Hold the lock. It is a file of its own, because the file itself is renamed."""
        descriptor = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_WRONLY | os.O_CREAT, self._mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _end_of_lines(descriptor: int, size: int, step: int = 64 * 1024) -> int:
    """Return the offset at which the last whole line ends."""
    end = size
    while end > 0:
        start = max(0, end - step)
        offset = os.pread(descriptor, end - start, start).rfind(b"\n")
        if offset >= 0:
            return start + offset + 1
        end = start
    return 0
