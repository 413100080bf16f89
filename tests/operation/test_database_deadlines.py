"""X90: what PostgreSQL's driver and server are told about how long anything may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from config.databases import database_from
from config.environment import Environment
from tests.kit.sluice import StartSluice

URL = "postgres://user@db.example:5432/name"


def options(url: str, statement_timeout_s: float = 120) -> dict[str, Any]:
    found: dict[str, Any] = database_from(Environment({"DATABASE_URL": url}), Path(), 5, statement_timeout_s)["OPTIONS"]
    return found


def test_every_wait_has_a_deadline():
    told = options(URL)
    assert told["connect_timeout"] == 5
    assert told["tcp_user_timeout"] == 5_000
    assert told["keepalives"] == 1
    assert told["keepalives_idle"] == 5
    assert "statement_timeout=120000" in told["options"]
    assert "idle_in_transaction_session_timeout=10000" in told["options"]


def test_what_the_url_says_goes_before_and_a_pooler_may_be_spared():
    assert options(f"{URL}?connect_timeout=9")["connect_timeout"] == 9
    assert "options" not in options(URL, 0)


def test_a_server_asks_for_it(start_sluice: StartSluice):
    server = start_sluice(database="postgres", DATABASE_STATEMENT_TIMEOUT_SECS=77)
    code = (
        "from django.db import connection as c; k = c.cursor(); "
        "k.execute('SHOW statement_timeout'); print(k.fetchone()[0])"
    )
    assert server.manage("shell", "-v0", "-c", code, json=False).strip() == "77s"
