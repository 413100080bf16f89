"""Several processes that write one ledger at once, each from a spool of its own that has the same events: as when the
hosts of an installation are sent what another one has already.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from subprocess import PIPE, STDOUT, Popen

import pytest

from tests.kit.databases import databases, drop_database, make_database, query
from tests.kit.environment import ROOT, server_environment
from tests.kit.services import Services
from usage.event import RequestEvent
from usage.journal.record import encode, sealed

WRITERS = 3
EVENTS = 1_200
KEYS = 7
COST = 5


def event(number: int) -> RequestEvent:
    at = 1_790_000_000.0 + number
    return RequestEvent(
        f"req_{number:06}", at, "POST", "/v1/x", 200, "complete", 1.0, key=number % KEYS, requests=1, cost_picousd=COST
    )


def spool(directory: Path, seed: int) -> None:
    """All events, in an order of their own, in three segments."""
    lines = [sealed(encode(event(number))) for number in range(EVENTS)]
    Random(seed).shuffle(lines)
    directory.mkdir()
    for part in range(3):
        (directory / f"{part}-a.spool").write_bytes(b"".join(lines[part::3]))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("database", databases)
def test_each_event_counts_once_and_nobody_waits_in_a_circle(database: str, services: Services, tmp_path: Path) -> None:
    url = make_database(database)
    try:
        writers = []
        for number in range(WRITERS):
            spool(tmp_path / str(number), number)
            env = server_environment(DATABASE_URL=url, DATA_DIR=tmp_path, JOURNAL_DIR=tmp_path / str(number))
            command = [sys.executable, "manage.py", "ledger", "--once"]
            writers.append(Popen(command, cwd=ROOT, env=env, stdout=PIPE, stderr=STDOUT, text=True))
        for writer in writers:
            told, _ = writer.communicate(timeout=100)
            assert (writer.returncode, told) == (0, ""), "no deadlock, no lock that was not had in time"
        assert len(query(url, "SELECT id FROM usage_requestrecord")) == EVENTS
        totals = query(url, "SELECT ident, requests, cost_picousd FROM usage_scopetotal WHERE kind='key' AND slot=-1")
        assert sum(row["requests"] for row in totals) == EVENTS
        assert sum(row["cost_picousd"] for row in totals) == EVENTS * COST
        assert {row["ident"] for row in totals} == {str(number) for number in range(KEYS)}
    finally:
        drop_database(url)
