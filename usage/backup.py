"""Back up an installation while it serves: the database, the journal, and the secrets that it generated.

The event of a request is in the journal until its row is in the database. So the journal is copied first: events that
are no longer in it are in the database, and an event in both counts once. The manifest is written last, so a backup
with a manifest is complete.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection

from usage.journal.damaged_lines import DAMAGED
from usage.journal.segments import last_line_end, segments
from usage.journal.subscribers import PROGRESS, subscribers
from usage.replace import replace_file

MANIFEST, JOURNAL, SECRETS = "manifest.json", "journal", "secrets.env"
SQLITE_FILE, POSTGRES_FILE = "database.sqlite3", "database.dump"
BUSY_S = 60.0
SHOWN_CHARS = 500


class Manifest(msgspec.Struct):
    """`database` is `sqlite` or `postgresql`. `has_secrets` says whether the backup has generated secrets."""

    made_at: float = 0.0
    database: str = ""
    has_secrets: bool = False


class CannotBackUp(Exception):
    """The backup failed. The message is one line that says why."""


def back_up(to: Path) -> Manifest:
    """Make a backup in a new or empty directory. Raises `CannotBackUp` and `OSError`."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise CannotBackUp(f"{to} is there and not empty; name a new directory.")
    os.umask(0o077)  # only the owner may read the backup
    to.mkdir(parents=True, exist_ok=True)
    to.chmod(0o700)
    copy_journal(settings.JOURNAL_DIR, to / JOURNAL)
    if connection.vendor == "postgresql":
        run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={to / POSTGRES_FILE}")
    else:
        copy_sqlite(Path(settings.DATABASES["default"]["NAME"]), to / SQLITE_FILE)
    secrets = settings.DATA_DIR / SECRETS
    if secrets.exists():
        shutil.copyfile(secrets, to / SECRETS)
    manifest = Manifest(time.time(), connection.vendor, secrets.exists())
    replace_file(to / MANIFEST, manifest, durable=True)
    return manifest


def copy_journal(journal: Path, to: Path) -> None:
    """Copy what the ledger and other consumers have not read, and what is in quarantine. Raises `OSError`.

    A consumer's position is copied before its segments. So after a restore it may read events again, but misses none.
    """
    to.mkdir()
    if not journal.is_dir():
        return
    for directory in [*subscribers(journal), journal]:
        copied = to if directory == journal else to / directory.name
        copied.mkdir(exist_ok=True)
        for name in (PROGRESS, DAMAGED):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(directory / name, copied / name)
        for segment in segments(directory):
            with contextlib.suppress(FileNotFoundError):  # its reader has just finished and removed it
                copy_lines(segment, copied / segment.name)


def copy_lines(segment: Path, to: Path) -> None:
    """Copy the whole lines. A line that is being written belongs to a request whose answer has not ended."""
    with segment.open("rb") as file, to.open("wb") as copied:
        left = last_line_end(segment)
        while left and (piece := file.read(min(left, 1024 * 1024))):
            copied.write(piece)
            left -= len(piece)


def copy_sqlite(database: Path, to: Path) -> None:
    """Copy the database as of one moment, including its write-ahead log. Writers are not blocked.

    Raises `CannotBackUp`.
    """
    if not database.exists():
        raise CannotBackUp(f"There is no database at {database}.")
    with closing(sqlite3.connect(database, timeout=BUSY_S)) as source, closing(sqlite3.connect(to)) as copied:
        source.backup(copied)
        (verdict,) = copied.execute("PRAGMA quick_check").fetchone()
        copied.execute("PRAGMA journal_mode=DELETE")  # so that the copy is one file, without a log
    if verdict != "ok":
        raise CannotBackUp(f"The copy of {database} is damaged: {verdict}")


def run(program: str, *arguments: str, database: str | None = None) -> None:
    """Run one of PostgreSQL's programs on the configured database. Raises `CannotBackUp`.

    The password is passed in the environment, because all users of a machine can see arguments.
    """
    path = shutil.which(program)
    if path is None:
        raise CannotBackUp(f"{program} was not found; install PostgreSQL's client programs.")
    database_settings = connection.settings_dict
    done = subprocess.run(  # noqa: S603 (nothing of it is from outside)
        [path, *arguments, "--no-password", f"--dbname={database or database_settings['NAME']}"],
        env={**os.environ, **environment_of(database_settings)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotBackUp(f"{program} failed: {last_lines(done.stderr.strip().splitlines())}")


def environment_of(database_settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables that libpq reads, also for options of the URL such as `sslmode`."""
    named = {
        "PGHOST": database_settings["HOST"],
        "PGPORT": database_settings["PORT"],
        "PGUSER": database_settings["USER"],
        "PGPASSWORD": database_settings["PASSWORD"],
    }
    options = {
        f"PG{name.upper()}": value for name, value in database_settings["OPTIONS"].items() if name.startswith("ssl")
    }
    return {name: str(value) for name, value in {**named, **options}.items() if value}


def last_lines(lines: Sequence[str]) -> str:
    return "; ".join(lines[:3])[:SHOWN_CHARS] or "it said nothing"
