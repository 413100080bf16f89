"""How a server's connections are distributed over its workers."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

ESTABLISHED, CLOSE_WAIT = "01", "08"
REQUEST = b"GET /health HTTP/1.1\r\nhost: sluice\r\n\r\n"


@contextmanager
def connections(port: int, count: int) -> Iterator[list[bytes]]:
    """Open `count` connections at once, send a request on each, and keep them open. Yields the status lines."""
    with ExitStack() as held:
        # The kernel completes connections that no worker has accepted yet.
        opened = [held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(count)]
        for sock in opened:
            sock.sendall(REQUEST)
        yield [held.enter_context(sock.makefile("rb")).readline() for sock in opened]


def inodes_of(port: int) -> set[str]:
    """The inodes of the server's connections, including those that only the client has closed."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {line[9] for line in lines if line[1].endswith(f":{port:04X}") and line[3] in (ESTABLISHED, CLOSE_WAIT)}


def spread(port: int, workers: Iterable[int]) -> dict[int, int]:
    """How many of the connections to this port each worker has. It needs Linux's `/proc`."""
    inodes = inodes_of(port)
    counts: Counter[int] = Counter()
    for pid in workers:
        counts[pid] = 0
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                target = os.readlink(link)
                counts[pid] += target.startswith("socket:") and target[8:-1] in inodes
    return dict(counts)
