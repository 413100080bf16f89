"""Starts the workers of a server under test as forks of a process that has loaded everything.

multiprocessing would start a new Python for each worker, and expects the workers to be children of the server. So the
forking process forks twice: the child in between ends, and the kernel makes the orphan a child of the server, its
nearest ancestor that takes orphans (prctl(2), PR_SET_CHILD_SUBREAPER).
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
"""A server that has just started has no descriptor as high as this."""

_PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 36
_start_new_python = util.spawnv_passfds


def is_wanted(arguments: Sequence[str]) -> bool:
    return "serve" in arguments and "--workers" in arguments and arguments[arguments.index("--workers") + 1] != "1"


def fork_workers() -> str:
    """Make multiprocessing start workers as forks of a copy of this process, which this function forks off.

    Returns "" in this process. In each worker, it returns the program that the worker must run.
    """
    asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        asking.close()
        _name(b"prefork")  # so that tests do not take it for a worker
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
    """Fork workers until the server is gone. Returns only in the workers."""
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
        os.waitpid(between, 0)  # after this the worker is the server's child
        asked.send(os.read(told, 64))
        os.close(told)


def _name(name: bytes) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name, 0, 0, 0)


def _become(order: dict[str, Any], descriptors: Sequence[int]) -> str:
    """Become the process that multiprocessing would have started, with the descriptor numbers that it expects."""
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
    # prometheus_client chose the class when it was imported, without the worker's environment.
    prometheus_client.values.ValueClass = prometheus_client.values.get_value_class()
    program: str = order["program"]
    return program
