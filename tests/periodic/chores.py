"""Tasks that tell of themselves in the file that the variable CHORES names."""

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

from celery import shared_task

from usage.periodic.table import Periodic

RELEASE = "release"
"""A file beside CHORES: while it is not there, `hang` hangs."""


class Note(NamedTuple):
    name: str
    at: float
    program: str


def note(name: str) -> None:
    program = "sluice" if Path(sys.argv[0]).name == "manage.py" else "celery"
    with Path(os.environ["CHORES"]).open("a") as file:
        file.write(f"{name} {time.time()} {program}\n")


def notes(path: Path, name: str) -> list[Note]:
    if not path.exists():
        return []
    found = [line.split() for line in path.read_text().splitlines()]
    return [Note(named, float(at), program) for named, at, program in found if named == name]


@shared_task
def tick() -> str:
    note("tick")
    return "ticked"


@shared_task
def fail() -> None:
    note("fail")
    raise RuntimeError("as it must")


@shared_task
def hang() -> None:
    note("hanging")
    while not Path(os.environ["CHORES"]).with_name(RELEASE).exists():
        time.sleep(0.02)
    note("released")


@shared_task
def idle() -> None:
    """Not due while a test lasts."""
    note("idle")


HERE = "tests.periodic.chores"
SCHEDULE = (
    Periodic("fail", f"{HERE}.fail", every_s=1),
    Periodic("tick", f"{HERE}.tick", every_s=1),
    Periodic("idle", f"{HERE}.idle", every_s=10**9),
)
WITH_ONE_THAT_HANGS = (*SCHEDULE, Periodic("hang", f"{HERE}.hang", every_s=1))
