"""Migration 0008 on a table with rows, and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.kit.databases import databases, drop_database, make_database, query
from tests.kit.environment import ROOT, server_environment
from tests.kit.events import request_id_at
from tests.kit.services import SERVICES, Services, processes

NOW = datetime.now(UTC).replace(microsecond=0)
ROWS = {
    **{request_id_at(moment): moment for moment in (NOW - timedelta(days=40 * number) for number in range(5))},
    "req_0": NOW,
    "Zebra": NOW,
    request_id_at(datetime(9000, 1, 1, tzinfo=UTC)): NOW,
}
ALL = "SELECT * FROM usage_requestrecord ORDER BY id"
Migrate = Callable[[str], None]


@pytest.fixture(params=databases)
def database(request: pytest.FixtureRequest, services: Services) -> Iterator[str]:
    url = make_database(request.param)
    yield url
    drop_database(url)


@pytest.fixture
def migrate(database: str) -> Migrate:
    def run(target: str) -> None:
        environment = server_environment(DATABASE_URL=database, DATA_DIR=SERVICES.directory / "migrating")
        command = [sys.executable, "manage.py", "migrate", "usage", target, "-v", "0"]
        done = processes.run(command, cwd=ROOT, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def put_rows(url: str) -> None:
    """As a table from before has them."""
    columns = (
        "id, created_at, method, endpoint, provider, credential, model, model_served, stream, status_code, outcome, "
        "error, cache, attempts, usage_source, price_source, duration_ms, request_bytes, response_bytes, "
        "correlation_id, response_id, tags"
    )
    rest = "'POST', '/v1/x', 'up', '', 'm', '', false, 200, 'complete', '', '', 1, '', '', 1.5, 0, 0, '', '', '[]'"
    values = ", ".join(f"('{pk}', '{moment:%Y-%m-%d %H:%M:%S}', {rest})" for pk, moment in ROWS.items())
    statement = f"INSERT INTO usage_requestrecord ({columns}) VALUES {values}"
    if url.startswith("sqlite:///"):
        import sqlite3

        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.execute(statement)
        connection.close()
    else:
        with psycopg.connect(url) as postgres:
            postgres.execute(statement)


def test_rows_are_carried_over_and_back(database: str, migrate: Migrate):
    migrate("0007")
    put_rows(database)
    before = query(database, ALL)
    assert [row["id"] for row in before] == sorted(ROWS)
    migrate("0008")
    assert query(database, ALL) == before
    if database.startswith("postgres"):
        places = query(database, "SELECT id, tableoid::regclass::text AS place FROM usage_requestrecord")
        in_weeks = {row["id"] for row in places if not row["place"].endswith("_default")}
        assert in_weeks == set(ROWS) - {"req_0", "Zebra"}
    migrate("0007")
    assert query(database, ALL) == before
    migrate("0008")
    assert query(database, ALL) == before


def test_ids_are_in_the_order_of_bytes_whatever_the_language(services: Services):
    """Else a week's bounds would not hold its ids."""
    url = make_database("postgres")
    try:
        collations = query(
            url,
            "SELECT c.relname, collname FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attname = 'id' "
            "JOIN pg_collation o ON o.oid = attcollation WHERE c.relname LIKE 'usage\\_requestrecord%' "
            "AND relkind IN ('r', 'p')",
        )
        assert len(collations) >= 7
        assert {row["collname"] for row in collations} == {"C"}
    finally:
        drop_database(url)
