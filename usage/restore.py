"""Restore an installation from a backup: database, journal and secrets. No server may use it meanwhile."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import connection

from usage.backup import JOURNAL, MANIFEST, POSTGRES_FILE, SECRETS, SQLITE_FILE, Manifest, run
from usage.journal.consumer import LOCK
from usage.journal.segments import is_being_written, segments
from usage.replace import read_file

EARLIER = ".before-restore"
"""The suffix under which replaced files are kept. Those of an earlier restore are deleted."""


class CannotRestore(Exception):
    """The restore was refused and has changed nothing. The message is one line that says why."""


def restore(backup: Path, *, replace: bool) -> Manifest:
    """Restore a backup, and return its manifest. An existing installation is replaced only if `replace`.

    Its database file, journal and secrets are then kept beside the new ones, but not the contents of PostgreSQL.
    Raises `CannotRestore`, `CannotBackUp`, `DatabaseError` and `OSError`.
    """
    manifest = read_file(backup / MANIFEST, Manifest)
    if not manifest.database:
        raise CannotRestore(f"{backup} has no complete backup: there is no {MANIFEST} in it.")
    if manifest.database != connection.vendor:
        raise CannotRestore(f"The backup is of {manifest.database}, and DATABASE_URL names {connection.vendor}.")
    os.umask(0o077)
    with nobody_serves(settings.JOURNAL_DIR):
        if has_data() and not replace:
            raise CannotRestore("There is an installation already; --replace puts the backup in its place.")
        if connection.vendor == "postgresql":
            restore_postgres(backup / POSTGRES_FILE)
        else:
            restore_sqlite(backup / SQLITE_FILE, Path(settings.DATABASES["default"]["NAME"]))
        restore_journal(backup / JOURNAL, settings.JOURNAL_DIR)
        if manifest.has_secrets:
            restore_file(backup / SECRETS, settings.DATA_DIR / SECRETS)
    return manifest


@contextmanager
def nobody_serves(journal: Path) -> Iterator[None]:
    """Check that no server is running, and hold the ledger writer's lock. Raises `CannotRestore`.

    A running server has a segment of the journal open, and the process that writes the ledger holds the lock.
    """
    journal.mkdir(parents=True, exist_ok=True)
    fd = os.open(journal / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_served = any(is_being_written(segment) for segment in segments(journal))
        except BlockingIOError:
            is_served = True
        if is_served:
            raise CannotRestore(f"A server serves from {settings.DATA_DIR}; stop it first.")
        yield
    finally:
        os.close(fd)


def has_data() -> bool:
    if connection.vendor == "postgresql":
        return "django_migrations" in connection.introspection.table_names()
    database = Path(settings.DATABASES["default"]["NAME"])
    if not database.exists():
        return False
    with closing(sqlite3.connect(database)) as source:
        return bool(source.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone())


def restore_postgres(dump: Path) -> None:
    """Restore a dump in one transaction. The existing tables are dropped before, outside of that transaction."""
    names = {model._meta.db_table for model in apps.get_models(include_auto_created=True)} | {"django_migrations"}
    present = names & set(connection.introspection.table_names())
    if present:
        tables = ", ".join(map(connection.ops.quote_name, sorted(present)))
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {tables} CASCADE")
            cursor.execute("DROP FUNCTION IF EXISTS audit_append_only()")
    connection.close()
    run("pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(dump))


def restore_sqlite(copy: Path, database: Path) -> None:
    connection.close()
    if database.exists():
        with closing(sqlite3.connect(database)) as before:  # the kept file must have the contents of its log
            before.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    restore_file(copy, database)
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def restore_journal(copy: Path, journal: Path) -> None:
    """Replace the journal. All old files are moved away, because their events would get into the restored ledger."""
    earlier = journal.with_name(journal.name + EARLIER)
    shutil.rmtree(earlier, ignore_errors=True)
    earlier.mkdir()
    for path in journal.iterdir():
        if path.name != LOCK:
            path.rename(earlier / path.name)
    shutil.copytree(copy, journal, copy_function=shutil.copyfile, dirs_exist_ok=True)


def restore_file(copy: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    new = place.with_name(f"{place.name}.new")
    shutil.copyfile(copy, new)
    new.chmod(0o600)
    if place.exists():
        place.replace(place.with_name(place.name + EARLIER))
    new.replace(place)
