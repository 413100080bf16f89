"""Database triggers that keep the audit log append-only.

They stop the application, its operators and accidents, but not a database user who may alter the schema. SQLite loses
a table's triggers if a migration rebuilds the table, so such a migration must end with `put`.
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
    """Create the triggers, in the open transaction if there is one."""
    execute(connection, POSTGRES if connection.vendor == "postgresql" else SQLITE)


def lift(connection: Any) -> None:
    if connection.vendor == "postgresql":
        execute(connection, [f"DROP TRIGGER IF EXISTS audit_no_change ON {TABLE}"])
    else:
        execute(connection, [f"DROP TRIGGER IF EXISTS audit_no_{verb}" for verb in ("update", "delete")])


@contextmanager
def lifted(connection: Any) -> Iterator[None]:
    """Remove the triggers within this transaction. Other transactions still see them, and a rollback restores them."""
    lift(connection)
    yield
    put(connection)


def execute(connection: Any, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
