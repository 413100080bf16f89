"""What tests start ends with them, also when they are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kit.environment import ROOT
from tests.kit.services import packages, processes, reaper

ENDS_SECS = 30
STARTS_SECS = 180


def names(pids: list[int]) -> dict[str, str]:
    """By the name that no later process has: its command."""
    return {name: Path(f"/proc/{pid}/cmdline").read_text() for pid in pids if (name := reaper.run_of(pid))}


def left_of(started: dict[str, str]) -> dict[str, str]:
    return {name: command for name, command in started.items() if reaper.run_of(int(name.split(".")[0])) == name}


def runs_alive(run: str) -> set[int]:
    return {one.pid for one in reaper.processes() if run in one.runs or one.name == run}


def check_nothing_is_left(run: str, started: dict[str, str]) -> None:
    processes.poll(lambda: not left_of(started) and not runs_alive(run), timeout=ENDS_SECS)
    assert left_of(started) == {}
    assert runs_alive(run) == set(), "the reaper itself, or what it never saw"


@pytest.fixture
def everything(chromium: str, tmp_path: Path) -> Any:
    """A run that has started all there is: what it tells of itself."""
    told = tmp_path / "told"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/services/everything.py"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        run = processes.start(command, cwd=ROOT, env={**os.environ, "TOLD_TO": str(told)}, output=output)
    processes.poll(lambda: told.exists() or run.poll() is not None, timeout=STARTS_SECS)
    assert processes.poll(told.exists, timeout=0), log.read_text()
    yield run, json.loads(told.read_text())
    processes.end(run, signal_number=signal.SIGKILL)


def test_a_killed_run_leaves_no_process_and_no_file(everything: Any):
    run, told = everything
    started = names(told["pids"])
    commands = " ".join(started.values())
    for part in ("postgres", "redis-server", "prefork.py", "chrom", "sleep", "reaper.py"):
        assert part in commands, "it starts all of them, or this proves nothing"
    directory = Path(told["directory"])
    assert directory.is_dir()
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    check_nothing_is_left(told["run"], started)
    assert not directory.exists()


@pytest.mark.parametrize("way", ["os.kill(os.getpid(), signal.SIGTERM)", "os._exit(3)", "sys.exit()", "1 / 0"])
def test_programs_end_with_the_process_that_started_them(way: str):
    code = (
        "import os, signal, subprocess, sys\n"
        "from tests.kit.services import processes\n"
        "child = processes.start(['sh', '-c', 'trap \"\" TERM; sleep 600; :'])\n"
        "other = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "print(processes.run_name(), child.pid, other.pid, processes.make_directory('x'), flush=True)\n"
        f"{way}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    run, child, other, directory = done.stdout.split()
    check_nothing_is_left(run, names([int(child), int(other)]))
    assert not Path(directory).exists()


def test_what_an_earlier_run_left_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its reaper may have been killed with it. A number that another process has by now is no excuse."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = processes.make_directory("mine")
    others = [tmp_path / f"sluice-session-{name}-abc" for name in ("999999999.1", f"{os.getpid()}.1")]
    for directory in others:
        (directory / "data").mkdir(parents=True)
    processes.make_directory("more")
    assert mine.is_dir()
    assert not any(directory.exists() for directory in others)


def test_a_copy_of_the_process_does_not_keep_it_alive():
    code = (
        "import os, signal\n"
        "from tests.kit.services import processes\n"
        "child = processes.start(['sleep', '600'])\n"
        "print(processes.run_name(), child.pid, flush=True)\n"
        "os.fork() or signal.pause()\n"
        "os._exit(0)\n"
    )
    out = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=out, stderr=subprocess.DEVNULL) as run:
        assert run.stdout is not None
        name, child = run.stdout.readline().decode().split()
        started = names([int(child)])
        run.wait()
        assert processes.poll(lambda: not left_of(started), timeout=ENDS_SECS), name


def test_a_service_that_comes_with_a_package_is_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\necho $$ $PPID "${reaper.NAME}" >> {tmp_path}/runs\n')
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    processes.run_name()
    with pytest.raises(packages.Missing):
        packages.require(["redis-server"])
    assert [line.split(maxsplit=2)[2:] for line in (tmp_path / "runs").read_text().splitlines()] == [[], []]
