"""A copy of an installation while it serves: the database, the journal, and the secrets that it made for itself.

A finished request is in the journal until its row is in the database. So the journal is copied first: what it has lost
by then is in the database, and what is in both counts once. A backup has a manifest when it is complete.
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
    """`database` is `sqlite` or `postgresql`; `has_secrets`: whether the installation made its own."""

    made_at: float = 0.0
    database: str = ""
    has_secrets: bool = False


class CannotBackUp(Exception):
    """One line that says what is in the way."""


def back_up(to: Path) -> Manifest:
    """Make a backup in a new or empty directory. Raises `CannotBackUp` and `OSError`."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise CannotBackUp(f"{to} is there and not empty; name a new directory.")
    os.umask(0o077)  # what is in it is for its owner alone
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
    """What the ledger and other consumers have not read, and what is quarantined. Raises `OSError`.

    How far a consumer is is copied before what it reads: what it reads meanwhile it reads again.
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
            with contextlib.suppress(FileNotFoundError):  # read to its end, and removed, in this very moment
                copy_lines(segment, copied / segment.name)


def copy_lines(segment: Path, to: Path) -> None:
    """Its whole lines: what is being written now is of a request that has not ended yet."""
    with segment.open("rb") as file, to.open("wb") as copied:
        left = last_line_end(segment)
        while left and (piece := file.read(min(left, 1024 * 1024))):
            copied.write(piece)
            left -= len(piece)


def copy_sqlite(database: Path, to: Path) -> None:
    """As it is at one moment, with what is only in its write-ahead log yet. Writers go on meanwhile."""
    if not database.exists():
        raise CannotBackUp(f"There is no database at {database}.")
    with closing(sqlite3.connect(database, timeout=BUSY_S)) as source, closing(sqlite3.connect(to)) as copied:
        source.backup(copied)
        (verdict,) = copied.execute("PRAGMA quick_check").fetchone()
        copied.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    if verdict != "ok":
        raise CannotBackUp(f"The copy of {database} is damaged: {verdict}")


def run(program: str, *arguments: str, database: str | None = None) -> None:
    """One of PostgreSQL's programs on the configured database. The password goes by the environment: arguments are
    seen by all users of a machine. Raises `CannotBackUp`."""
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
    """What libpq reads. Options of the URL, such as `sslmode`, have names of their own there."""
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
