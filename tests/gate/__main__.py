"""`python -m tests.gate`: all tests of Sluice."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.gate.runner import Gate, Plan, Run
from tests.kit.environment import ROOT

SERVICES = ROOT / ".services"
GROUND = "tests/test_ground.py"
# These mostly wait, so they run beside the others.
WAITING = ("tests/promises", "tests/dispatch")
LANES = min(2 * (os.cpu_count() or 1), 8)
"""More than there are cores: most of a test's time is spent waiting, for a server's start or a change to be heard."""
# What queries may do otherwise on PostgreSQL.
QUERYING = ("tests/management", "tests/ledger", "tests/alerts")
ON_POSTGRES = {"TEST_DATABASE": "postgres"}


def plan() -> Plan:
    ground = Run("ground", [GROUND], ["--gate-again"], is_shown=True)  # installs what all of them need
    elapsed = Run("elapsed", marked(), ["--gate-again", "-m", "elapsed"], is_shown=True)
    lanes = [lane("start", is_shown=True), *(lane(f"end-{n}", "--gate-from-the-end") for n in range(1, LANES))]
    return [[[ground]], lanes, [[elapsed]]]


def lane(name: str, *options: str, is_shown: bool = False) -> list[Run]:
    return [
        all_databases(name, *options, is_shown=is_shown),
        on_postgres(f"{name}-postgres", *options, is_shown=is_shown),
    ]


def all_databases(name: str, *options: str, is_shown: bool) -> Run:
    first = [f"--gate-first={path}/" for path in WAITING]
    rest = ["--ignore", GROUND, "-m", "not elapsed"]
    return Run(name, ["tests"], ["--gate-again", *shared("all"), *first, *rest, *options], is_shown=is_shown)


def on_postgres(name: str, *options: str, is_shown: bool) -> Run:
    rest = ["-m", "not any_database and not elapsed"]
    only = ["--gate-again", "--gate-own-database", *shared("postgres"), *rest]
    return Run(name, QUERYING, [*only, *options], ON_POSTGRES, is_shown)


def shared(name: str) -> list[str]:
    return [f"--gate-share={SERVICES / 'gate' / name}"]


def marked() -> list[str]:
    """Where a test is marked: to collect all others would take longer than to run these."""
    found = [
        path.relative_to(ROOT) for path in Path(ROOT / "tests").rglob("test_*.py") if "mark.elapsed" in path.read_text()
    ]
    return [str(path) for path in sorted(found) if str(path) != GROUND]


if __name__ == "__main__":
    sys.exit(Gate(SERVICES).go(plan()))
