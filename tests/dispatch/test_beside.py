"""Dispatchers that a server's settings name deliver beside it, without anybody who starts them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.waiting import soon


def delivered(server: Sluice) -> list[str]:
    path = Path(server.env["DATA_DIR"]) / "dispatch" / "file.jsonl"
    return [json.loads(line)["id"] for line in path.read_text().splitlines()] if path.exists() else []


def reads_along(server: Sluice) -> bool:
    return (Path(server.env["DATA_DIR"]) / "journal" / "dispatch-file").is_dir()


def ids_of(server: Sluice, count: int) -> list[str]:
    key = server.mint()
    return [ask(server, key).headers["x-request-id"] for _ in range(count)]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_events_arrive_also_after_the_process_beside_is_killed(start_sluice: Any, kind: str):
    server: Sluice = start_sluice(
        kind, redis=kind == "postgres", simulated=True, DISPATCH_TO="file", JOURNAL_CLAIM_SECS=1
    )
    first = ids_of(server, 3)
    soon(lambda: set(first) <= set(delivered(server)))
    assert delivered(server) == first
    assert reads_along(server) == (kind == "sqlite")  # with Redis it reads the stream
    os.kill(server.ledger_pid(), signal.SIGKILL)
    second = ids_of(server, 3)
    soon(lambda: set(second) <= set(delivered(server)))


def test_they_may_be_left_to_others(start_sluice: Any):
    server: Sluice = start_sluice("sqlite", simulated=True, DISPATCH_TO="file", DISPATCH_WITH_SERVER="false")
    ids_of(server, 2)
    soon(lambda: len(server.rows()) == 2)
    assert delivered(server) == []
    assert not reads_along(server)
