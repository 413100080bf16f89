"""X92: servers of the version before go on beside a schema that is migrated already, as in a rolling upgrade."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddField, CreateModel, RemoveField, RenameField, RenameModel
from django.db.migrations.operations.base import Operation

from tests.kit.databases import databases, drop_database, execute, make_database, query
from tests.kit.services import Services

BEFORE = {"keys": 11, "providers": 4, "proxy": 1, "usage": 16}
"""The newest migration of each app in the version before. Its servers may run beside all later ones."""

ROW = {
    "id": "'req_019a00000000old'",
    "created_at": "'2026-11-30 12:00:00+00:00'",
    "method": "'POST'",
    "endpoint": "'/v1/chat/completions'",
    "provider": "'up'",
    "credential": "''",
    "model": "'m'",
    "model_served": "'m'",
    "stream": "false",
    "status_code": "200",
    "outcome": "'complete'",
    "error": "''",
    "cache": "''",
    "attempts": "1",
    "usage_source": "''",
    "price_source": "''",
    "duration_ms": "1.5",
    "request_bytes": "1",
    "response_bytes": "1",
    "correlation_id": "''",
    "response_id": "''",
    "tags": "'[]'",
}
"""A row of the ledger with the columns of the version before."""

SUMS = (
    "requests, errors, refused, cache_hits, prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, "
    "cost_picousd, unpriced, duration_us, ttft_us, ttft_requests"
)


def later_operations() -> Iterator[tuple[str, Operation]]:
    """The operations of all migrations that the version before does not know."""
    loader = MigrationLoader(None)
    for (app, name), migration in loader.disk_migrations.items():
        if app in BEFORE and int(name[:4]) > BEFORE[app]:
            for operation in migration.operations:
                yield f"{app} {name}", operation


def test_the_version_before_can_write_every_table():
    """A column that it does not know is null or has a default of the database's own, and none that it knows is gone."""
    made = {operation.name_lower for _, operation in later_operations() if isinstance(operation, CreateModel)}
    for where, operation in later_operations():
        assert not isinstance(operation, RemoveField | RenameField | RenameModel), f"{where}: {operation.describe()}"
        if isinstance(operation, AddField) and operation.model_name_lower not in made:
            field = operation.field
            assert field.null or field.has_db_default(), f"{where}: {operation.describe()}"


@pytest.mark.parametrize("kind", databases)
def test_what_the_version_before_writes_has_a_place(services: Services, kind: str):
    url = make_database(kind)
    try:
        execute(url, f"INSERT INTO usage_requestrecord ({', '.join(ROW)}) VALUES ({', '.join(ROW.values())})")
        numbers = ", ".join(["1"] * len(SUMS.split(", ")))
        place = "at, project_id, key_id, user_id, team_id, provider, model, tags_id"
        values = f"'2026-11-30 12:00:00+00:00', 1, 1, 0, 0, 'up', 'm', 0, {numbers}"
        execute(url, f"INSERT INTO usage_hourrollup ({place}, {SUMS}) VALUES ({values})")
        [row] = query(url, "SELECT saved_tokens, saved_picousd FROM usage_requestrecord")
        assert (row["saved_tokens"], row["saved_picousd"]) == (0, 0)
        [row] = query(url, "SELECT requests, saved_tokens, saved_picousd FROM usage_hourrollup")
        assert (row["requests"], row["saved_tokens"], row["saved_picousd"]) == (1, 0, 0)
    finally:
        connections.close_all()
        drop_database(url)
