"""The workers of a server under test: multiprocessing would start a new Python for each, this forks one that is ready.

A worker stays its server's own child, as multiprocessing wants it: who forks it twice has it given back to the server,
which is its nearest ancestor that takes orphans (prctl(2), PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import sys
from collections.abc import Sequence
from multiprocessing import util
from typing import Any

import prometheus_client.values

LARGEST_MESSAGE = 1 << 20
MOST_DESCRIPTORS = 64
ABOVE = 1000
"""No descriptor of a server that has just started is so high."""

_PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 36
_start_new_python = util.spawnv_passfds


def is_wanted(arguments: Sequence[str]) -> bool:
    return "serve" in arguments and "--workers" in arguments and arguments[arguments.index("--workers") + 1] != "1"


def fork_workers() -> str:
    """From now on, workers are forks of this process as it is now.

    Returns nothing in this one; in each worker, when its server asks for it, the program that it is to run.
    """
    asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        asking.close()
        _name(b"prefork")  # so that nobody takes it for a worker
        return _serve(asked)
    asked.close()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def start(path: bytes, arguments: list[str], descriptors: Sequence[int]) -> int:
        *_, program, is_worker = arguments
        if is_worker != "--multiprocessing-fork":
            started: int = _start_new_python(path, arguments, descriptors)
            return started
        numbers = sorted(map(int, descriptors))
        order = {"program": program, "env": dict(os.environ), "cwd": os.getcwd(), "numbers": numbers}
        socket.send_fds(asking, [json.dumps(order).encode()], numbers)
        return int(asking.recv(64))

    util.spawnv_passfds = start  # type: ignore[assignment]
    return ""


def _serve(asked: socket.socket) -> str:
    """Until the server is gone. Returns in the workers alone."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(asked, LARGEST_MESSAGE, MOST_DESCRIPTORS)
        if not message:
            os._exit(0)
        told, teller = os.pipe()
        between = os.fork()
        if between == 0:
            if worker := os.fork():
                os.write(teller, str(worker).encode())
                os._exit(0)
            asked.close()
            os.close(told)
            os.close(teller)
            return _become(json.loads(message), descriptors)
        os.close(teller)
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(between, 0)  # by then the worker is the server's
        asked.send(os.read(told, 64))
        os.close(told)


def _name(name: bytes) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name, 0, 0, 0)


def _become(order: dict[str, Any], descriptors: Sequence[int]) -> str:
    """The process that multiprocessing would have started: its descriptors have the numbers that it is told of."""
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, ABOVE) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    for descriptor, number in zip(moved, order["numbers"], strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    _name(b"python")
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    sys.argv = ["-c", "--multiprocessing-fork"]
    # It was chosen at the import, without the worker's environment.
    prometheus_client.values.ValueClass = prometheus_client.values.get_value_class()
    program: str = order["program"]
    return program
