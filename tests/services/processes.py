"""Programs that live no longer than the test process that starts them, however that ends."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

LAUNCHER = Path(__file__).with_name("launcher.py")

# The kernel tells a child of the death of the *thread* that started it. This one lives as long as the process.
_starter = ThreadPoolExecutor(1, "starter")


def start(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: IO[bytes] | int = subprocess.DEVNULL,
    user: pwd.struct_passwd | None = None,
    parting: str = "SIGTERM",
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, as `user`; it gets the signal `parting` when this process dies."""
    uid, gid = (user.pw_uid, user.pw_gid) if user else (os.getuid(), os.getgid())
    own = [sys.executable, "-I", "-S", str(LAUNCHER), parting, str(uid), str(gid), str(os.getpid()), "--"]
    return _starter.submit(
        subprocess.Popen,
        [*own, *map(str, command)],
        env=env,
        cwd=cwd or "/",
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ).result()


def end(process: subprocess.Popen[bytes], *, signal_number: int = signal.SIGTERM, timeout: float = 10) -> int:
    """Signal it, wait, and sweep up what is left of its session. Returns the exit code; ending twice is harmless."""
    if process.poll() is None:
        process.send_signal(signal_number)
        # A process that a test has stopped would sleep through it.
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            sweep(process)
            process.wait(timeout)
            raise
    sweep(process)
    return process.returncode


def sweep(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever still runs in the session that `start` made for it."""
    with suppress(ProcessLookupError, PermissionError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL)


_reserved: deque[int] = deque()
RESERVED = 100
"""Ports kept, the latest ones: a server listens on its own by the time that so many others were asked for."""


def free_port() -> int:
    """A port that nobody listens on, and that the kernel gives to nobody else for now.

    It is kept by a socket that is bound and does not listen: beside it servers may bind, which all allow that
    (SO_REUSEADDR), and who connects before they do is refused.
    """
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    port: int = probe.getsockname()[1]
    _reserved.append(probe.detach())
    if len(_reserved) > RESERVED:
        os.close(_reserved.popleft())
    return port


def limit_file_size(pid: int, most_bytes: int | None) -> None:
    """Let a process write no file beyond this size, as if its disk were full; None: as large as it likes."""
    limit = resource.RLIM_INFINITY if most_bytes is None else most_bytes
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def poll(question: Callable[[], Any], *, timeout: float, every: float = 0.02) -> Any:
    """Ask another process until the answer is true; the last answer when time is up. Nothing else can wake us."""
    deadline = time.monotonic() + timeout
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(every)
    return answer


def make_directory(purpose: str) -> Path:
    """A temporary directory that carries our process id, so that a later run can clear up after a killed one."""
    _remove_orphans()
    return Path(tempfile.mkdtemp(prefix=f"sluice-{purpose}-{os.getpid()}-"))


def _remove_orphans() -> None:

    for path in Path(tempfile.gettempdir()).glob("sluice-*-*-*"):
        pid = path.name.split("-")[2]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
