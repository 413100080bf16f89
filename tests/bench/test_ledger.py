"""`python -m bench ledger`, small: it makes its rows, asks every list and report, and writes every event."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.environment import ROOT
from tests.kit.services import Services

ROWS = 3_000


@pytest.mark.timeout(600)
def test_it_runs_from_the_rows_to_the_figures(services: Services, tmp_path: Path):
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "bench", "ledger", "--quick", "--rows", str(ROWS), "--json", str(told)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    values = {result["measure"]: result["value"] for result in json.loads(told.read_text())["results"]}
    assert values["rows"] == ROWS
    assert values["disk for a row"] > 100
    assert values["written, on one core"] > 0
    assert 0 < values["sums for a row: daymodel"] < values["sums for a row: hour"] <= 1
    for name in (
        "usage: by tag, 90 days",
        "usage: file: by key, 30 days in total, whole",
        "usage: a key's own, 30 days",
    ):
        assert any(measure.startswith(f"{name}: p95") for measure in values), (name, list(values))
    for name in ("API: first page", "API: next pages of 500", "API: search: nothing", "admin: search: models"):
        # On a busy machine some pages end early, which the measure's name tells.
        measure = re.compile(rf"{name}(?: \(\d of \d end early\))?: p95")
        assert any(map(measure.match, values)), (name, list(values))
