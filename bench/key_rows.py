"""Fills a server's database with very many keys, by SQL: a million rows would be slow one by one."""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg

from keys.tokens import Token, write_token

PROJECTS, TEAMS, USERS, TAGS = 50, 100, 1_000, 1_000
SECRET = "s" * 32

SERIES = {
    "sqlite": "WITH RECURSIVE series(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM series WHERE i < {count})",
    "postgres": "WITH series AS (SELECT generate_series(1, {count}) AS i)",
}


def token_of(number: int, prefix: str) -> str:
    """The token of the key with this number; numbers begin at 1. All keys have the same secret."""
    return write_token(Token(f"k{number:011d}", SECRET), prefix)


def fill(url: str, count: int, salt: bytes, secret_hash: bytes) -> None:
    """Add `count` keys, and their projects, teams and users, to the database at `url`. It must be migrated and have one
    project, team, user and key, which serve as patterns.
    """
    vendor = "sqlite" if url.startswith("sqlite:///") else "postgres"
    connection: Any
    if vendor == "sqlite":
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60)
    else:
        connection = psycopg.connect(url)

    def name(start: str, of: str) -> str:
        return f"'{start}' || ({of})"

    def copy(table: str, count: int, **changed: str) -> None:
        """Add `count` rows like the newest one. `changed` has SQL expressions of `i` for the columns that differ."""
        cursor = connection.execute(f"SELECT * FROM {table} ORDER BY id DESC LIMIT 1")
        columns = [column[0] for column in cursor.description if column[0] != "id"]
        cursor.close()
        values = ", ".join(changed.get(column, f"pattern.{column}") for column in columns)
        series = SERIES[vendor].format(count=count)
        pattern = f"(SELECT * FROM {table} ORDER BY id DESC LIMIT 1) AS pattern"
        into = f"INSERT INTO {table} ({', '.join(columns)})"
        select = f"SELECT {values} FROM series CROSS JOIN {pattern}"
        connection.execute(f"{series} {into} {select}" if vendor == "sqlite" else f"{into} {series} {select}")

    def first_of(table: str) -> int:
        return int(connection.execute(f"SELECT MAX(id) FROM {table}").fetchone()[0]) + 1

    project, team, owner = first_of("keys_project"), first_of("keys_team"), first_of("auth_user")
    copy("keys_project", PROJECTS, name=name("project-", "i"))
    copy("keys_team", TEAMS, name=name("team-", "i"))
    copy("auth_user", USERS, username=name("user-", "i"))
    then, json = "'2026-01-01 00:00:00'", ""
    if vendor == "postgres":
        then, json = f"timestamptz {then}", "::jsonb"
    copy(
        "keys_virtualkey",
        count,
        name=name("Service ", "CAST(i AS bigint) * 7919 % 1000003") + " || " + name(" of customer ", "i"),
        public_id="'k' || substr('00000000000' || i, -11)" if vendor == "sqlite" else "'k' || lpad(i::text, 11, '0')",
        salt=f"x'{salt.hex()}'" if vendor == "sqlite" else f"'\\x{salt.hex()}'::bytea",
        secret_hash=f"x'{secret_hash.hex()}'" if vendor == "sqlite" else f"'\\x{secret_hash.hex()}'::bytea",
        project_id=f"{project} + i % {PROJECTS}",
        team_id=f"{team} + i % {TEAMS}",
        owner_id=f"{owner} + i % {USERS}",
        # Every hundredth key is revoked, expired or inactive. The benchmarks send no requests with these.
        revoked_at=f"CASE WHEN i % 300 = 0 THEN {then} END",
        expires_at=f"CASE WHEN i % 300 = 100 THEN {then} END",
        is_active="CASE WHEN i % 300 = 200 THEN {} ELSE {} END".format(
            *(("0", "1") if vendor == "sqlite" else ("false", "true"))
        ),
        tags=f"('[\"tag-' || (i % {TAGS}) || '\"]'){json}",
    )
    connection.commit()
    if vendor == "postgres":
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
    connection.close()
