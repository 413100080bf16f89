"""The reaper, `reaper.py RUN`: a process that ends what a test run has started when the run ends, however it ends.

Its standard input is a pipe. The run holds the other end, and writes `PID SIGNAL` for each program that it starts. When
the pipe closes, the run has ended, by itself or by a SIGKILL. The reaper then finds all its processes: by the name of
the run, which each has in its environment; by their ids, because some programs write their title over the environment;
and by their parents. So a server's workers and a browser's helpers end too, in whatever session they are. The reaper
needs Linux's `/proc`.

It imports nothing but the standard library, because it runs under `python -I -S`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

NAME = "SLUICE_TEST_RUNS"
"""The variable with the names of the runs that a process belongs to, the outermost first: a run may start another."""
PARTING_SECS = 5
"""How long programs may clear up after a signal other than SIGKILL."""
SWEEPS = 50
EVERY_SECS = 0.1


class Process(NamedTuple):
    pid: int
    name: str
    parent: int
    runs: list[str]


def run_of(pid: int) -> str | None:
    """A name that no other process ever has: its id, and when it began. None if there is no such living process."""
    try:
        fields = _fields(pid)
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{pid}.{fields[19]}"


def directories_of(run: str) -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"sluice-*-{run}-*"))


def processes() -> list[Process]:
    """All living processes."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError):  # it ended meanwhile
            fields = _fields(int(name))
            if fields[0] not in "ZX":
                found.append(Process(int(name), f"{name}.{fields[19]}", int(fields[1]), _runs(int(name))))
    return found


def belonging(run: str, started: set[str]) -> set[int]:
    """The ids of the processes of a run, and of all that they have started."""
    alive = processes()
    found = {one.pid for one in alive if run in one.runs or one.name in started}
    known = 0
    while known != (known := len(found)):
        found |= {one.pid for one in alive if one.parent in found}
    return found - {os.getpid()}


def reap(run: str, partings: dict[str, int]) -> None:
    """End all processes of a run. `partings` has the signal for each program that it started, by `run_of` its id."""
    polite = {name: number for name, number in partings.items() if number != signal.SIGKILL}
    clearing_up = belonging("", set(polite))
    _signal(belonging(run, set(partings)) - clearing_up, signal.SIGKILL)
    for name, number in polite.items():
        if run_of(pid := int(name.partition(".")[0])) == name:
            _signal({pid}, number)
            _signal({pid}, signal.SIGCONT)
    deadline = time.monotonic() + PARTING_SECS
    while clearing_up & belonging(run, set(partings)) and time.monotonic() < deadline:
        time.sleep(EVERY_SECS)
    quiet = 0
    for _ in range(SWEEPS):  # more than once, because a process may have been starting another one
        left = belonging(run, set(partings))
        _signal(left, signal.SIGKILL)
        quiet = 0 if left else quiet + 1
        if quiet > 1:
            break
        time.sleep(EVERY_SECS)
    for path in directories_of(run):
        shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    run = sys.argv[1]
    partings: dict[str, int] = {}
    for line in sys.stdin:
        pid, _, wanted = line.strip().partition(" ")
        if name := run_of(int(pid)):
            partings[name] = signal.Signals[wanted]
    reap(run, partings)


def _fields(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` after the program's name, which may contain blanks and parentheses."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _runs(pid: int) -> list[str]:
    mark = f"{NAME}=".encode()
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # not ours to read
        return []
    return next((part[len(mark) :].decode().split() for part in environment.split(b"\0") if part.startswith(mark)), [])


def _signal(pids: set[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


if __name__ == "__main__":
    main()
