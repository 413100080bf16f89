"""Databases for servers under test. One is migrated in each session, then copied: a copy takes some milliseconds."""

from __future__ import annotations

import secrets
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

from tests.kit.environment import ROOT, server_environment
from tests.kit.services import SERVICES, processes

databases = ["sqlite", "postgres"]
"""For `@pytest.mark.parametrize("database", databases)`."""
EACH_DATABASE = {kind: {"database": kind} for kind in databases}
"""For `pytest.mark.server(each=EACH_DATABASE)`."""


def make_database(kind: str) -> str:
    """The URL of a new, migrated database."""
    if kind == "sqlite":
        path = SERVICES.directory / f"{secrets.token_hex(6)}.sqlite3"
        shutil.copyfile(_sqlite_template(), path)
        return f"sqlite:///{path}"
    if kind == "postgres":
        return SERVICES.postgres.url_of(SERVICES.postgres.create(template=_postgres_template()))
    raise ValueError(f"{kind!r}: a database is 'sqlite', 'postgres' or a URL")


def drop_database(url: str) -> None:
    if url.startswith("sqlite:///"):
        for suffix in ("", "-wal", "-shm"):
            Path(url.removeprefix("sqlite:///") + suffix).unlink(missing_ok=True)
    else:
        SERVICES.postgres.drop(url.rpartition("/")[2])


def query(url: str, statement: str) -> list[dict[str, Any]]:
    """The rows that a statement finds, read on a connection of its own while a server may be writing."""
    if url.startswith("sqlite:///"):
        import sqlite3

        connection = sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}", uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(statement)]
        finally:
            connection.close()
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(url, row_factory=dict_row) as postgres:
        return postgres.execute(statement).fetchall()


def execute(url: str, statement: str) -> None:
    """Execute a statement in the database, past Sluice, as an operator can at the database's prompt."""
    if url.startswith("sqlite:///"):
        import sqlite3

        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=10)
        try:
            with connection:
                connection.execute(statement)
        finally:
            connection.close()
        return
    import psycopg

    with psycopg.connect(url) as postgres:
        postgres.execute(statement)


@cache
def _sqlite_template() -> Path:
    path = SERVICES.directory / "template.sqlite3"
    migrate(f"sqlite:///{path}")
    return path


@cache
def _postgres_template() -> str:
    name = SERVICES.postgres.create()
    migrate(SERVICES.postgres.url_of(name))
    return name


def migrate(url: str) -> None:
    """Bring an empty database's schema up to date."""
    env = server_environment(DATABASE_URL=url, DATA_DIR=SERVICES.directory / "migrating")
    done = processes.run([sys.executable, "manage.py", "migrate", "--no-input", "-v", "0"], cwd=ROOT, env=env)
    if done.returncode:
        raise RuntimeError(f"migrate failed:\n{done.stdout}{done.stderr}")
