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
    """This process's name among all runs, whose processes the reaper ends with it."""
    global _reaper
    with _guard:
        name = reaper.run_of(os.getpid())
        assert name
        if _reaper is None:
            os.environ[reaper.NAME] = f"{os.environ.get(reaper.NAME, '')} {name}".strip()
            command = [sys.executable, "-I", "-S", reaper.__file__, name]
            # A session of its own: what ends a whole group of processes must not end this one.
            started = subprocess.Popen(
                command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
            assert started.stdin is not None
            _reaper = os.dup(started.stdin.fileno())
            started.stdin.close()
            started.returncode = 0  # it outlives us: nobody waits for it
    return name


def _leave_to_the_parent() -> None:
    """A copy of this process is no run: it must not hold the pipe open."""
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
    """Start `command` in a session of its own, as `user`; it ends with this process, by the signal `parting`.

    A `manage.py` is a fork of a Python that has imported the libraries; with `fresh`, it is started as a shell does.
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
    """The descriptors of a process's standard output and standard error, for what `subprocess` takes."""
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
    """As `subprocess.run(…, capture_output=True, text=True)`, with what `start` does."""
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


def takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def limit_file_size(pid: int, most_bytes: int | None) -> None:
    """Let a process write no file beyond this size, as if its disk were full; None: as large as it likes."""
    limit = resource.RLIM_INFINITY if most_bytes is None else most_bytes
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def poll(question: Callable[[], Any], *, timeout: float, every: float = 0.01, rarest: float = 0.1) -> Any:
    """Ask another process until the answer is true; the last answer when time is up. Nothing else can wake us.

    It asks less and less often: to ask takes time from who is waited for.
    """
    deadline = time.monotonic() + timeout
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(every)
        every = max(every, min(every * 1.5, rarest))
    return answer


def make_directory(purpose: str) -> Path:
    """A temporary directory that carries our run's name: its reaper removes it, or a later run if that was killed."""
    _remove_orphans()
    return Path(tempfile.mkdtemp(prefix=f"sluice-{purpose}-{run_name()}-"))


def _remove_orphans() -> None:
    for path in reaper.directories_of("*.*"):
        run = path.name.split("-")[-2]
        pid = run.partition(".")[0]
        if pid.isdigit() and reaper.run_of(int(pid)) != run:
            shutil.rmtree(path, ignore_errors=True)
