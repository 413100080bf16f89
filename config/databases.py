"""`DATABASE_URL` to Django's database settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ

from config.environment import Environment, parts_of

SQLITE_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=10000"


def database_from(env: Environment, data_dir: Path) -> dict[str, Any]:
    """SQLite in `data_dir` unless `DATABASE_URL` names another database (`postgres://…` or `sqlite:///…`)."""
    url = env.text("DATABASE_URL") or f"sqlite:///{data_dir / 'sluice.sqlite3'}"
    try:
        check(url)
    except ValueError as error:
        env.refuse("DATABASE_URL", f"{error} (see docs/configuration.md)")
        url = "sqlite://:memory:"
    database: dict[str, Any] = dict(environ.Env.db_url_config(url))
    if database["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE: a transaction that writes later waits for the lock at its start instead of failing in its middle.
        database["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "init_command": SQLITE_PRAGMAS}
    else:
        database["CONN_HEALTH_CHECKS"] = True
        options = database.setdefault("OPTIONS", {})
        if unknown := sorted(options.keys() - known_options()):
            env.refuse("DATABASE_URL", f"PostgreSQL has no option {unknown[0]!r}")
        options.setdefault("connect_timeout", 5)
    return database


def check(url: str) -> None:
    """Raises `ValueError`, whose text tells nothing of the URL, which has a password in it."""
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
    """libpq's, and those that Django takes out before."""
    from psycopg import pq  # only who has PostgreSQL loads it

    named = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    return named | {"assume_role", "isolation_level", "pool", "server_side_binding", "prepare_threshold"}
