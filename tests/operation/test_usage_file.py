"""The CSV file of a report from a running server: whole, however many pages it is read in."""

from __future__ import annotations

import csv
import sqlite3
from datetime import UTC, datetime

import httpx
import pytest

from tests.kit.environment import MANAGEMENT_TOKEN
from usage.rollups.state import PLACE, SUMS

LINES = 1_203


@pytest.fixture
def server(sluice):
    today = datetime.now(UTC).strftime("%Y-%m-%d 00:00:00")
    rows = [(today, 0, number, 0, 0, "up", "m", 0, *[1] * len(SUMS)) for number in range(1, LINES + 1)]
    columns = ", ".join((*PLACE, *SUMS))
    marks = ", ".join("?" * len(rows[0]))
    database = sqlite3.connect(sluice.database_url.removeprefix("sqlite:///"), timeout=30)
    with database:
        database.execute("DELETE FROM usage_dayrollup")
        database.executemany(f"INSERT INTO usage_dayrollup ({columns}) VALUES ({marks})", rows)
    database.close()
    return sluice


def test_all_pages_come_as_one_file(server):
    headers = {"authorization": f"Bearer {MANAGEMENT_TOKEN}", "accept": "text/csv"}
    address = f"{server.url}/api/usage?group_by=key&period=total"
    with httpx.stream("GET", address, headers=headers, timeout=60, trust_env=False) as answer:
        assert answer.status_code == 200
        assert "content-length" not in answer.headers
        rows = list(csv.DictReader(answer.iter_lines()))
    assert [int(row["key"]) for row in rows] == list(range(1, LINES + 1))
    assert "Warning" not in server.log_text()


@pytest.mark.parametrize("path, accept, status", [("", "text/html", 406), ("&format=xml", "*/*", 400)])
def test_what_there_is_no_form_for_is_refused_as_json(server, path, accept, status):
    answer = server.api("GET", f"/api/usage?period=total{path}", headers={"accept": accept})
    assert answer.status_code == status
    assert "detail" in answer.json()
