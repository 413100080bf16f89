"""The triggers that keep the audit log append-only, whoever asks the database.

They stop the application, its operators and accidents; not somebody who may alter the schema. SQLite loses a table's
triggers when a migration rebuilds the table, so such a migration ends with `put`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TABLE = "usage_auditentry"
MESSAGE = "the audit log is append-only"

SQLITE = [
    f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON {TABLE} BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
    for verb in ("UPDATE", "DELETE")
]
POSTGRES = [
    f"CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$",
    f"CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {TABLE} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()",
]


def put(connection: Any) -> None:
    """Make the triggers; in the transaction that is open, where there is one."""
    execute(connection, POSTGRES if connection.vendor == "postgresql" else SQLITE)


def lift(connection: Any) -> None:
    if connection.vendor == "postgresql":
        execute(connection, [f"DROP TRIGGER IF EXISTS audit_no_change ON {TABLE}"])
    else:
        execute(connection, [f"DROP TRIGGER IF EXISTS audit_no_{verb}" for verb in ("update", "delete")])


@contextmanager
def lifted(connection: Any) -> Iterator[None]:
    """Without the triggers, for this transaction alone: others see them all the time, and so does a rollback."""
    lift(connection)
    yield
    put(connection)


def execute(connection: Any, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
