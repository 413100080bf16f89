"""How long `make run` takes until it serves, if it has been run before."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress

import httpx

from bench import machine
from bench.result import Result, middle
from bench.servers import Servers
from tests.kit.environment import ROOT, server_environment
from tests.kit.services import processes

MOST_S = 60


def start(servers: Servers, *, quick: bool) -> list[Result]:
    """The first start makes the installation. The others are measured."""
    directory = servers.directory / "run"
    seconds = [seconds_to_ready(directory) for _ in range(2 if quick else 6)]
    return [
        Result("start", "first start, all installed", seconds[0], "s"),
        middle("start", "second start", seconds[1:], "s", at_most=3),
    ]


def seconds_to_ready(directory: os.PathLike[str]) -> float:
    port = processes.free_port()
    env = server_environment(DATA_DIR=directory, HOST="127.0.0.1", PORT=port, GRACE_SECS=2)
    began = time.monotonic()
    process = processes.start(["make", "run"], env=env, cwd=ROOT)
    machine.pin(process.pid, machine.TESTED)
    try:
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() - began > MOST_S:
                raise RuntimeError("make run did not serve")
            time.sleep(0.01)
        return time.monotonic() - began
    finally:
        # The signal goes to make and to all that it started, as from a terminal.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        processes.sweep(process)


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
