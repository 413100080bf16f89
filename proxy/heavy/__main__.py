"""The child that reads long JSON: `python -m proxy.heavy FD MOST_BYTES`. It ends when its worker does.

It loads neither Django nor its settings, so it starts in a tenth of a second and takes 20 MB.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from proxy.heavy.jobs import LENGTH_BYTES, READ_CPU_S, Result, decode_job, encode
from proxy.heavy.reading import read

NAME = "sluice-heavy"
"""The name of the process in lists of processes."""

NICENESS = 5
"""With it the child gives way to the requests that are handled meanwhile."""

MEMORY_BYTES = 512 * 1024 * 1024
"""Memory beside eight times the longest text. Small values that are searched for names take as much."""

FIRST_TO_DIE = b"1000"
"""If memory runs out, Linux ends this process before its worker."""


def main() -> None:
    line = socket.socket(fileno=int(sys.argv[1]))
    settle_in(int(sys.argv[2]))
    while (length := take(line, LENGTH_BYTES)) is not None:
        head = take(line, int.from_bytes(length))
        if head is None:
            return
        job = decode_job(head)
        raw = take(line, job.size)
        if raw is None:
            return
        with ending(line):
            result = read(job, bytes(raw))
        del raw
        tell(line, result)


def settle_in(most_bytes: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # they are for the server; this process ends when the line is closed
    with contextlib.suppress(OSError):  # only Linux has these files
        Path("/proc/self/comm").write_text(NAME)
        Path("/proc/self/oom_score_adj").write_bytes(FIRST_TO_DIE)
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has this limit
        import resource

        most = MEMORY_BYTES + 8 * most_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    os.nice(NICENESS)
    gc.disable()  # it would search the values of one text again and again, which have no cycles


@contextlib.contextmanager
def ending(line: socket.socket) -> Iterator[None]:
    """In this context two signals end the process, whatever it does: SIGPROF when its CPU time is over, and SIGIO when
    its worker is gone.
    """
    flags = fcntl.fcntl(line, fcntl.F_GETFL)
    fcntl.fcntl(line, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(line, fcntl.F_SETFL, flags | os.O_ASYNC)  # the worker sends nothing meanwhile, so SIGIO means its end
    signal.setitimer(signal.ITIMER_PROF, READ_CPU_S)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    fcntl.fcntl(line, fcntl.F_SETFL, flags)


def take(line: socket.socket, size: int) -> bytearray | None:
    """Receive `size` bytes; None if the worker is gone."""
    buffer = bytearray(size)
    with memoryview(buffer) as view:
        at = 0
        while at < size:
            try:
                more = line.recv_into(view[at:])
            except ConnectionError:
                return None
            if not more:
                return None
            at += more
    return buffer


def tell(line: socket.socket, result: Result) -> None:
    document = encode(result)
    with contextlib.suppress(ConnectionError):  # the next `take` notices that the worker is gone
        line.sendall(len(document).to_bytes(LENGTH_BYTES) + document)


if __name__ == "__main__":
    main()
