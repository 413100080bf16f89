"""X91: whatever the supervisor dies of, workers and the ledger's process end, and a new start has the port alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.kit.management import minted
from tests.kit.requests import ask
from tests.kit.sluice import StartSluice
from tests.kit.waiting import soon


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_workers_and_the_ledgers_process_end_with_a_killed_supervisor(start_sluice: StartSluice):
    server = start_sluice(redis=True, workers=2, simulated=True)
    _, key = minted(server)
    assert ask(server, key).status_code == 200
    assert server.process is not None
    workers, ledger = server.worker_pids(), server.ledger_pid()
    assert len(workers) == 2
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(10)
    soon(lambda: not any(map(runs, (*workers, ledger))))
    server.launch()
    assert not set(server.worker_pids()) & set(workers)
    assert ask(server, key).status_code == 200
    server.rows(expect=2)
