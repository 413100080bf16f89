"""Starts programs that end with the test process, however it ends."""

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import IO, Any

from tests.kit.services import reaper
from tests.kit.services.forks import FORKS

_guard = Lock()
_reaper: int | None = None
"""Our end of the reaper's pipe."""


def run_name() -> str:
    """The name of this process as a run. The first call starts the reaper, which ends the run's processes with it."""
    global _reaper
    with _guard:
        name = reaper.run_of(os.getpid())
        assert name
        if _reaper is None:
            os.environ[reaper.NAME] = f"{os.environ.get(reaper.NAME, '')} {name}".strip()
            command = [sys.executable, "-I", "-S", reaper.__file__, name]
            # A session of its own, so that a signal to this process's group does not end the reaper.
            started = subprocess.Popen(
                command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
            assert started.stdin is not None
            _reaper = os.dup(started.stdin.fileno())
            started.stdin.close()
            started.returncode = 0  # nobody waits for the reaper: it outlives this process
    return name


def _leave_to_the_parent() -> None:
    """Close the reaper's pipe in a fork of this process: a fork is no run, and must not hold the pipe open."""
    global _reaper
    if _reaper is not None:
        os.close(_reaper)
        _reaper = None
    FORKS.leave_to_the_parent()


os.register_at_fork(after_in_child=_leave_to_the_parent)


def start(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: IO[bytes] | int | None = subprocess.DEVNULL,
    errors: IO[bytes] | None = None,
    user: pwd.struct_passwd | None = None,
    parting: str = "SIGKILL",
    pass_fds: Sequence[int] = (),
    fresh: bool = False,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, as `user`. When this process ends, it gets the signal `parting`.

    A `manage.py` is a fork of a Python process that has loaded the libraries (`forks.py`). With `fresh`, a new Python
    starts, as from a shell.
    """
    run_name()
    words = [str(part) for part in command]
    env = {**(os.environ if env is None else env), reaper.NAME: os.environ[reaper.NAME]}
    process: subprocess.Popen[bytes]
    if cwd and not user and not fresh and FORKS.fit(words, env):
        with _opened(output) as (stdout, stderr):
            process = FORKS.start(words, env, cwd, stdout, stderr if errors is None else errors.fileno())
    else:
        process = subprocess.Popen(
            words,
            env=env,
            cwd=cwd or "/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors if errors is not None else subprocess.STDOUT if output is not None else None,
            start_new_session=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            pass_fds=pass_fds,
        )
    assert _reaper is not None
    os.write(_reaper, f"{process.pid} {parting}\n".encode())
    return process


@contextmanager
def _opened(output: IO[bytes] | int | None) -> Iterator[tuple[int, int]]:
    """The descriptors for standard output and standard error that correspond to a value that `subprocess` takes."""
    if output is None:
        yield 1, 2
    elif output == subprocess.DEVNULL:
        with Path(os.devnull).open("wb") as nowhere:
            yield nowhere.fileno(), nowhere.fileno()
    else:
        descriptor = output if isinstance(output, int) else output.fileno()
        yield descriptor, descriptor


def run(
    command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run(…, capture_output=True, text=True)`, but the program is started by `start`."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = start(command, env=env, cwd=cwd, output=stdout, errors=stderr)
        try:
            code = process.wait()
        finally:
            sweep(process)
        told = []
        for file in (stdout, stderr):
            file.seek(0)
            told.append(file.read().decode(errors="replace"))
    done = subprocess.CompletedProcess(process.args, code, *told)
    if check:
        done.check_returncode()
    return done


def end(process: subprocess.Popen[bytes], *, signal_number: int = signal.SIGTERM, timeout: float = 10) -> int:
    """Send the signal, wait for the end, and kill what is left of the session. Returns the exit code.

    A second call is harmless. Raises `TimeoutExpired`, after the process was killed.
    """
    if process.poll() is None:
        process.send_signal(signal_number)
        # A process that a test has frozen would not see the signal.
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
    """Kill everything that still runs in the session that `start` made for the process."""
    with suppress(ProcessLookupError, PermissionError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)


_reserved: deque[int] = deque()
RESERVED = 100
"""How many ports are kept. Once so many newer ports were asked for, the server of the oldest one listens."""


def free_port() -> int:
    """A port that no program listens on, and that the kernel gives to no other program for now.

    A socket that is bound but does not listen keeps the port. Servers can bind it too, because all of them set
    SO_REUSEADDR. A connection before that is refused.
    """
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    port: int = probe.getsockname()[1]
    _reserved.append(probe.detach())
    if len(_reserved) > RESERVED:
        os.close(_reserved.popleft())
    return port


def takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def limit_file_size(pid: int, most_bytes: int | None) -> None:
    """Let a process write no file beyond this size, as if its disk were full. None removes the limit."""
    limit = resource.RLIM_INFINITY if most_bytes is None else most_bytes
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def poll(question: Callable[[], Any], *, timeout: float, every: float = 0.01, rarest: float = 0.1) -> Any:
    """Ask until the answer is true, or `timeout` seconds are over. Returns the last answer.

    The pauses grow from `every` to `rarest` seconds, because asking takes CPU time from the process that is waited for.
    """
    deadline = time.monotonic() + timeout
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(every)
        every = max(every, min(every * 1.5, rarest))
    return answer


def make_directory(purpose: str) -> Path:
    """Make a temporary directory with our run's name in its own. The reaper removes it, or else a later run does."""
    _remove_orphans()
    return Path(tempfile.mkdtemp(prefix=f"sluice-{purpose}-{run_name()}-"))


def _remove_orphans() -> None:
    for path in reaper.directories_of("*.*"):
        run = path.name.split("-")[-2]
        pid = run.partition(".")[0]
        if pid.isdigit() and reaper.run_of(int(pid)) != run:
            shutil.rmtree(path, ignore_errors=True)
