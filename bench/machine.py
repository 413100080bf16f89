"""The machine's side of a measurement: which core runs what, and the CPU time and memory of a process."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
FILES = 20_000


def cores() -> tuple[set[int], set[int]]:
    """The core of the servers under test, and the one of everything else. With one core both are the same; off Linux
    both are empty.
    """
    if not hasattr(os, "sched_getaffinity"):
        return set(), set()
    allowed = sorted(os.sched_getaffinity(0))
    return {allowed[0]}, {allowed[1 if len(allowed) > 1 else 0]}


TESTED, REST = cores()


def settle_in() -> None:
    """Keep this process, and those that it starts, off the core of the servers under test. Raise its limit of open
    files, for many sockets.
    """
    pin(0, REST)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def pin(pid: int, to: set[int]) -> None:
    if to:
        os.sched_setaffinity(pid, to)


def cpu_seconds(pid: int, *, ended: bool = False) -> float:
    """The user and system time so far of a process and its running children, with all threads.

    With `ended`, also of children that have ended.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11 : 15 if ended else 13])) / TICKS
    return own + sum(cpu_seconds(child, ended=ended) for child in children(pid))


def exact_cpu_seconds(pid: int) -> float:
    """The same as `cpu_seconds`, to the nanosecond instead of the kernel's ticks (`proc_pid_schedstat(5)`)."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    own = sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    return own + sum(map(exact_cpu_seconds, children(pid)))


def children(pid: int) -> list[int]:
    """The running children of all threads of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for text in lists for child in text.read_text().split()]


IDLE_S = 0.25
"""How long a process must be idle. The ledger process wakes ten times a second for a millisecond."""

TIMEOUT_S = 120.0


def wait_until_idle(pids: Iterable[int]) -> None:
    """Wait until none of these processes works any more, such as a ledger process that catches up. It would take the
    core from what is measured next. On Linux it could take half of the core even at a low priority, because priorities
    count only within a session there (`sched(7)`, autogroups).
    """
    pids = list(pids)
    before, deadline = sum(map(cpu_seconds, pids)), time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        time.sleep(IDLE_S)
        now = sum(map(cpu_seconds, pids))
        if now - before <= 0.1 * IDLE_S:
            return
        before = now


class Memory(NamedTuple):
    """In bytes."""

    rss: int
    pss: int
    """Pages that are shared with other processes are counted in part."""


def memory(pid: int) -> Memory:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    return Memory(kilobytes["Rss"] * 1024, kilobytes["Pss"] * 1024)


def description() -> dict[str, object]:
    """What a reader of the numbers should know of the machine."""
    return {
        "cores": os.cpu_count(),
        "pinned": TESTED != REST,
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
    }
