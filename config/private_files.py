"""Sluice's files on disk are readable by their owner only: requests, sessions, secrets, the audit log.

New files are private by the process's umask. Files of an earlier version, or of a program without that umask, are made
private at the next start. Files of another user, and the targets of links, are left as they are.
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
"""Settings for what `DATA_DIR` has otherwise. If all of them are set, nothing needs to be written there."""


def data_dir_from(env: Environment, program: Path) -> Path:
    """Create `DATA_DIR` and make it private.

    If that fails and something must be stored there, Sluice does not start.
    """
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
    """Whether others also have files in this directory, so that making it private would lock them out."""
    try:
        sticky = bool(path.stat().st_mode & stat.S_ISVTX)
    except OSError:
        return False
    return sticky or path in (*program.parents, program)


def close_directory(path: Path) -> None:
    """Remove the rights of other users from the directory and everything in it."""
    for entry in (path, *_below(path)):
        close(entry)


def close_database(path: str) -> None:
    """Make SQLite's files private. SQLite gives new ones the mode of the database."""
    for ending in ("", "-wal", "-shm", "-journal"):
        close(Path(path + ending))


def close(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # a running server creates and deletes files
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
