"""X10, X92: a database that refuses writes for whatever reason of its own gets every row in the end, and health says so
meanwhile. Only what is wrong with a row itself is quarantined, and can be put back.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.kit.health import becomes
from tests.kit.management import minted
from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import soon
from usage.event import RequestEvent
from usage.journal.record import encode, sealed

ROWS = 12
TABLE = "usage_requestrecord"
POSTGRES = {
    "only reads": (
        "ALTER DATABASE {name} SET default_transaction_read_only = on",
        "ALTER DATABASE {name} RESET default_transaction_read_only",
    ),
    "older schema": (
        f"ALTER TABLE {TABLE} RENAME COLUMN response_id TO not_there_yet",
        f"ALTER TABLE {TABLE} RENAME COLUMN not_there_yet TO response_id",
    ),
    "older schema, no table": (
        "ALTER TABLE usage_scopetotal RENAME TO not_there_yet",
        "ALTER TABLE not_there_yet RENAME TO usage_scopetotal",
    ),
    "newer schema": (
        f"ALTER TABLE {TABLE} ADD COLUMN came_later text NOT NULL DEFAULT ''; "
        f"ALTER TABLE {TABLE} ALTER COLUMN came_later DROP DEFAULT",
        f"ALTER TABLE {TABLE} ALTER COLUMN came_later SET DEFAULT ''",
    ),
    "newer constraint": (
        f"ALTER TABLE {TABLE} ADD CONSTRAINT came_later CHECK (method <> 'POST' AND method <> 'GET') NOT VALID",
        f"ALTER TABLE {TABLE} DROP CONSTRAINT came_later",
    ),
}
SQLITE = {
    "older schema": POSTGRES["older schema"],
    "newer schema": (
        f"CREATE TRIGGER came_later BEFORE INSERT ON {TABLE} BEGIN SELECT RAISE(ABORT, 'came later'); END",
        "DROP TRIGGER came_later",
    ),
}


def waits_and_arrives(server: Sluice, spoil: Callable[[], object], mend: Callable[[], object]) -> str:
    """Returns what health said meanwhile."""
    key_id, key = minted(server)
    before = len(server.rows())
    quarantined = server.metrics().total("llm_proxy_journal_lines_set_aside_total", consumer="ledger")
    spoil()
    try:
        asked = [ask(server, key) for _ in range(ROWS)]
        assert [answer.status_code for answer in asked] == [200] * ROWS
        document = becomes(server, "ledger", "down", "degraded")
        assert server.metrics()["llm_proxy_ledger_available"] == 0
    finally:
        mend()
    rows = {row["id"] for row in server.rows(expect=before + ROWS, timeout=60)}
    assert {answer.headers["x-request-id"] for answer in asked} <= rows
    becomes(server, "ledger", "ok", "ok")
    assert server.metrics().total("llm_proxy_journal_lines_set_aside_total", consumer="ledger") == quarantined
    assert server.api("GET", f"/api/keys/{key_id}").json()["total_requests"] == ROWS
    return str(document["components"]["ledger"]["detail"])


@pytest.mark.parametrize("reason", POSTGRES)
def test_postgresql_that_refuses_every_row_gets_them_later(
    reason: str, on_postgres: Sluice, upstream: Upstream
) -> None:
    spoil, mend = (statement.format(name=on_postgres.database_url.rpartition("/")[2]) for statement in POSTGRES[reason])

    def run(statement: str) -> None:
        with psycopg.connect(on_postgres.database_url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(statement)
            # Settings of a database hold for connections that begin after them.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    assert "takes no rows" in waits_and_arrives(on_postgres, lambda: run(spoil), lambda: run(mend))


def test_a_user_that_may_not_write_for_a_while_writes_later(
    start_sluice: Callable[..., Sluice], on_postgres: Sluice, upstream: Upstream
) -> None:
    url = on_postgres.database_url
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS sluice_limited")
        owner.execute("CREATE ROLE sluice_limited LOGIN IN ROLE pg_read_all_data, pg_write_all_data")
        owner.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO sluice_limited")
        scheme, _, rest = url.partition("://")
        limited = start_sluice(f"{scheme}://sluice_limited@{rest.rpartition('@')[2]}")
        try:
            told = waits_and_arrives(
                limited,
                lambda: owner.execute("REVOKE pg_write_all_data FROM sluice_limited"),
                lambda: owner.execute("GRANT pg_write_all_data TO sluice_limited"),
            )
        finally:
            limited.close()
            owner.execute("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM sluice_limited")
            owner.execute("DROP ROLE sluice_limited")
    assert "permission denied" in told


@pytest.mark.parametrize("reason", SQLITE)
def test_sqlite_that_refuses_every_row_gets_them_later(reason: str, sluice: Sluice, upstream: Upstream) -> None:
    def run(statement: str) -> None:
        with closing(sqlite3.connect(sluice.database_url.removeprefix("sqlite:///"), timeout=20)) as connection:
            connection.execute(statement)
            connection.commit()

    spoil, mend = SQLITE[reason]
    waits_and_arrives(sluice, lambda: run(spoil), lambda: run(mend))


# --- what is wrong with a row itself ---------------------------------------------------------------------------
def damaged_event(number: int, **changes: Any) -> RequestEvent:
    fields: dict[str, Any] = {
        "id": f"req_{number}", "at": 1e20, "method": "POST", "path": "/v1/x", "status": 200, "outcome": "complete",
        "duration_ms": 1.0,
    }  # fmt: skip
    return RequestEvent(**{**fields, **changes})


def test_what_was_quarantined_is_listed_and_put_back_once(sluice: Sluice, upstream: Upstream) -> None:
    journal = Path(sluice.env["DATA_DIR"]) / "journal"
    before = {row["id"] for row in sluice.rows()}
    events = [damaged_event(number) for number in range(3)]
    left = journal.with_name("left")
    left.write_bytes(b"".join(sealed(encode(event)) for event in events) + b"no event\n")
    left.rename(journal / "0000000000001-a.spool")  # whole at once: what is empty is taken for read
    soon(lambda: len(quarantine_of(sluice)) == 4)
    assert sum("event" in one for one in quarantine_of(sluice)) == 3
    refused = sluice.manage("ledger", "--put-back", json=False, check=False)
    assert (refused.returncode, refused.stdout) == (
        1,
        "0 put back into the ledger, 3 refused again, 1 damaged and left\n",
    )
    # An operator mends them.
    file = journal / "damaged.log"
    mended = re.sub(r'"at":[^,]+', '"at":1790000000.0', file.read_text())
    file.write_text(mended)
    done = sluice.manage("ledger", "--put-back", json=False)
    assert done == "3 put back into the ledger, 0 refused again, 1 damaged and left\n"
    assert {row["id"] for row in sluice.rows()} - before == {"req_0", "req_1", "req_2"}
    file.write_text(mended)  # as after a crash before it was forgotten
    assert sluice.manage("ledger", "--put-back", json=False) == done
    assert len(sluice.rows()) == len(before) + 3
    assert len(quarantine_of(sluice)) == 1
    assert (file.stat().st_mode & 0o777) == 0o600


def quarantine_of(server: Sluice) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.manage("ledger", "--quarantine", json=False).splitlines()]


def test_what_no_ledger_lived_to_write_is_put_back_from_redis(
    start_sluice: Callable[..., Sluice], upstream: Upstream
) -> None:
    server = start_sluice(redis=True)
    assert server.redis is not None
    line = sealed(encode(damaged_event(7, at=time.time())))[:-1]
    with server.redis.client() as client:
        aside = "{sluice:journal}:set-aside"
        client.xadd(aside, {"id": "1-0", "group": "ledger", "why": "given out 10 times", "line": line})
        client.xadd(aside, {"id": "1-0", "group": "another", "why": "given out 10 times", "line": line})
        assert [one["reason"] for one in quarantine_of(server)] == ["given out 10 times"]
        assert server.manage("ledger", "--put-back", json=False).startswith("1 put back")
        assert [row["id"] for row in server.rows(expect=1)] == ["req_7"]
        assert client.xlen(aside) == 1
