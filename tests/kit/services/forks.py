"""Starts `manage.py` as a fork of a Python that has imported the libraries, or Sluice's code too (`prefork.py`)."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.kit.services import spawned

ROOT = Path(__file__).resolve().parents[3]


class Forked(subprocess.Popen[bytes]):
    """A process that is a child of the preforking process, which sends its id and its exit code."""

    _child_created = False
    """False, so that the destructor of `Popen` does nothing."""

    def __init__(self, args: Sequence[str], told: socket.socket) -> None:
        self.args = args
        self.stdin = self.stdout = self.stderr = None
        self.returncode = None
        self._told = told.detach()  # a descriptor gives no warning if nobody waits for the end
        self._guard = threading.Lock()
        self.pid = int(self._read())

    def poll(self) -> int | None:
        with self._guard:
            if self.returncode is None and self._can_read(0):
                self.returncode = int(self._read())
                os.close(self._told)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._can_read(left)
        return self.returncode

    def _can_read(self, timeout: float | None) -> bool:
        poll = select.poll()  # unlike select, for descriptors of any number
        poll.register(self._told, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def _read(self) -> bytes:
        if not (told := os.read(self._told, 64)):
            raise RuntimeError("the Python that forks has ended")
        return told


class Forks:
    """Sends orders to the preforking processes, through sockets that preserve the bounds of messages."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._orders: dict[bool, int] = {}
        """By whether who takes them has loaded Sluice's code."""

    @staticmethod
    def fit(command: Sequence[str], env: Mapping[str, str]) -> bool:
        """Whether a fork behaves as if a shell had started the command.

        It does not if `env` has variables that Python reads at its start.
        """
        read_before = {name for name in env if name.startswith("PYTHON")} - {"PYTHONUNBUFFERED"}
        return list(command[:2]) == [sys.executable, "manage.py"] and not read_before

    def start(self, command: Sequence[str], env: Mapping[str, str], cwd: Path, stdout: int, stderr: int) -> Forked:
        order = {"args": list(command[1:]), "env": dict(env), "cwd": str(cwd)}
        # Whether metrics are shared by several processes is decided when the code is loaded.
        is_loaded = cwd == ROOT and not spawned.is_wanted(command) and "PROMETHEUS_MULTIPROC_DIR" not in env
        told, teller = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with teller:
            with self._guard:
                if is_loaded not in self._orders:
                    self._orders[is_loaded] = self._start("loaded" if is_loaded else "libraries")
            with socket.socket(fileno=os.dup(self._orders[is_loaded])) as orders:
                socket.send_fds(orders, [json.dumps(order).encode()], [teller.fileno(), stdout, stderr])
        return Forked(command, told)

    @staticmethod
    def _start(what: str) -> int:
        from tests.kit.services import processes

        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            program = Path(__file__).with_name("prefork.py")
            command = [sys.executable, "-u", str(program), str(theirs.fileno()), what]
            # A server's environment has none of the variables by which a developer changes Python.
            env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
            started = processes.start(command, env=env, cwd=ROOT, output=None, pass_fds=[theirs.fileno()])
            started.returncode = 0  # nobody waits for it: it ends when our end of the pair is closed
        return ours.detach()

    def leave_to_the_parent(self) -> None:
        """Close the sockets in a fork of this process, so that only the parent holds them open."""
        while self._orders:
            os.close(self._orders.popitem()[1])


FORKS = Forks()
