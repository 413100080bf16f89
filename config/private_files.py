"""What Sluice keeps on disk is for its owner alone: requests, sessions, secrets, the audit log.

New files are so by the process's umask; those of an earlier version, or of a program without that umask, are made so at
the next start. What belongs to another user, and what a link points to, is left as it is.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from config.environment import Environment

OWNERS_ALONE = 0o077
DIRECTORY, FILE = 0o700, 0o600
KEPT_THERE = ("SECRET_KEY", "ENCRYPTION_KEY", "DATABASE_URL", "JOURNAL_DIR", "DISPATCH_DIR", "AUDIT_FILE")
"""Settings that name another place, or need none."""


def data_dir_from(env: Environment, program: Path) -> Path:
    """`DATA_DIR`, made and closed. Where it cannot be, and something is to be kept there, nothing starts."""
    path = Path(env.text("DATA_DIR") or program / "data").resolve()
    if is_shared(path, program):
        env.refuse("DATA_DIR", f"{str(path)!r} holds more than Sluice's files; name a directory that is for them alone")
        env.finish()
    try:
        path.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(path, os.W_OK | os.X_OK) else "no permission to write"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    if reason and not all(map(env.text, KEPT_THERE)):
        env.refuse("DATA_DIR", f"{str(path)!r} cannot be written ({reason}); name another directory")
        env.finish()
    close_directory(path)
    return path


def is_shared(path: Path, program: Path) -> bool:
    """Whether others have their files in this directory too, so that closing it would lock them out."""
    try:
        sticky = bool(path.stat().st_mode & stat.S_ISVTX)
    except OSError:
        return False
    return sticky or path in (*program.parents, program)


def close_directory(path: Path) -> None:
    """Take everybody else's rights from the directory and all that is in it."""
    for entry in (path, *_below(path)):
        close(entry)


def close_database(path: str) -> None:
    """SQLite's file and those beside it. It gives new ones the mode of the database."""
    for ending in ("", "-wal", "-shm", "-journal"):
        close(Path(path + ending))


def close(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # a running server's files come and go
        status = path.lstat()
        is_directory = stat.S_ISDIR(status.st_mode)
        if not (is_directory or stat.S_ISREG(status.st_mode)) or status.st_uid != os.geteuid():
            return
        if status.st_mode & OWNERS_ALONE:
            path.chmod(stat.S_IMODE(status.st_mode) & (DIRECTORY if is_directory else FILE))


def _below(path: Path) -> Iterator[Path]:
    for directory, directories, files in os.walk(path):
        for name in (*directories, *files):
            yield Path(directory) / name
