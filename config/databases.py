"""Turns `DATABASE_URL` into Django's database settings."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import environ

from config.environment import Environment, parts_of

SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=10000"


def database_from(env: Environment, data_dir: Path, timeout_s: float, statement_timeout_s: float) -> dict[str, Any]:
    """SQLite in `data_dir` unless `DATABASE_URL` names another database (`postgres://…` or `sqlite:///…`)."""
    url = env.text("DATABASE_URL") or f"sqlite:///{data_dir / 'sluice.sqlite3'}"
    try:
        check(url)
    except ValueError as error:
        env.refuse("DATABASE_URL", f"{error} (see docs/configuration.md)")
        url = "sqlite://:memory:"
    database: dict[str, Any] = dict(environ.Env.db_url_config(url))
    if database["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE: a transaction that will write waits for the lock at its start. Otherwise it could fail in the
        # middle.
        database["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "init_command": SQLITE_PRAGMAS}
    else:
        database["CONN_HEALTH_CHECKS"] = True
        options = database.get("OPTIONS", {})
        if unknown := sorted(options.keys() - known_options()):
            env.refuse("DATABASE_URL", f"PostgreSQL has no option {unknown[0]!r}")
        database["OPTIONS"] = {**deadlines(timeout_s, statement_timeout_s), **options}  # the URL takes precedence
    return database


def check(url: str) -> None:
    """Raises `ValueError`. Its text contains no part of the URL, which may have a password in it."""
    scheme = url.partition("://")[0]
    if "://" not in url or scheme not in ("sqlite", "postgres", "postgresql"):
        raise ValueError("use postgres://user:password@host:5432/name or sqlite:///path")
    if scheme == "sqlite":
        if not url.startswith("sqlite:///") or url == "sqlite:///":
            raise ValueError("use sqlite:///path, with a fourth / for an absolute one")
        return
    parts = parts_of(url)
    if not parts.path.strip("/"):
        raise ValueError("it names no database: postgres://user:password@host:5432/name")


def known_options() -> set[str]:
    """The options of libpq, and those that Django removes before it calls libpq."""
    from psycopg import pq  # loaded only if PostgreSQL is used

    named = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    return named | {"assume_role", "isolation_level", "pool", "server_side_binding", "prepare_threshold"}


def deadlines(timeout_s: float, statement_timeout_s: float) -> dict[str, Any]:
    """Options that bound every wait for PostgreSQL: a server that says nothing for `timeout_s` is given up.

    The kernel notices it by unacknowledged data and by keep-alives. A server that is alive ends slow statements itself.
    """
    whole_s = max(2, round(timeout_s))  # libpq treats one second as two
    options: dict[str, Any] = {
        "connect_timeout": whole_s,
        "tcp_user_timeout": round(timeout_s * 1000),
        "keepalives": 1,
        "keepalives_idle": whole_s,
        "keepalives_interval": 1,
        "keepalives_count": whole_s,
    }
    if statement_timeout_s:  # some poolers refuse a connection with options
        # A session whose client falls silent in a transaction keeps its locks, which block others.
        idle_ms = round(2 * timeout_s * 1000)
        options["options"] = (
            f"-c statement_timeout={round(statement_timeout_s * 1000)} -c idle_in_transaction_session_timeout={idle_ms}"
        )
    return options


STORED = "SELECT 1 FROM providers_credential LIMIT 1"


def has_encrypted(url: str, data_dir: Path) -> bool | None:
    """Whether the database has stored credentials; None if it does not answer.

    This is asked before the settings exist, and only at a start that finds no ENCRYPTION_KEY.
    """
    url = url or f"sqlite:///{data_dir / 'sluice.sqlite3'}"
    try:
        check(url)
    except ValueError:
        return None  # reported with the other settings
    database = environ.Env.db_url_config(url)
    if database["ENGINE"].endswith("sqlite3"):
        if not Path(database["NAME"]).exists():
            return False
        try:
            with contextlib.closing(sqlite3.connect(f"file:{database['NAME']}?mode=ro", uri=True)) as file:
                return file.execute(STORED).fetchone() is not None
        except sqlite3.Error as error:
            return False if "no such table" in str(error) else None
    import psycopg

    named = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    parameters = {name: database[key] for name, key in named.items() if database[key]}
    parameters |= {name: value for name, value in database.get("OPTIONS", {}).items() if name.startswith("ssl")}
    try:
        with psycopg.connect(connect_timeout=5, **parameters) as connection:
            return connection.execute(STORED).fetchone() is not None
    except psycopg.errors.UndefinedTable:
        return False
    except psycopg.Error:
        return None
