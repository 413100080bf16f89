"""How evenly connections that arrive at once are spread over four workers."""

from __future__ import annotations

import time

from bench import machine
from bench.result import Result, middle
from bench.servers import Servers
from tests.kit.services import processes
from tests.kit.sluice import Sluice
from tests.kit.spread import connections, inodes_of, spread

WORKERS = 4
TIMEOUT_S = 30.0


def spreads(servers: Servers, *, quick: bool) -> list[Result]:
    """Bursts of connections, with the workers on all cores. Each begins when the connections of the last are closed."""
    server = Sluice.start(redis=True, workers=WORKERS)
    try:
        assert server.process is not None
        for pid in (server.process.pid, *server.worker_pids()):
            machine.pin(pid, machine.TESTED | machine.REST)
        processes.poll(lambda: all(burst(server, 2 * WORKERS)[0]), timeout=TIMEOUT_S)
        return [result for count in (32, 200) for result in bursts(server, count, 5 if quick else 20)]
    finally:
        server.close()


def bursts(server: Sluice, count: int, rounds: int) -> list[Result]:
    counts, took_ms = zip(*(burst(server, count) for _ in range(rounds)), strict=True)
    name = f"{count} connections at once over {WORKERS} workers"
    return [
        middle("spread", f"{name}: the worker with fewest", [min(each) for each in counts], ""),
        middle("spread", f"{name}: the worker with most", [max(each) for each in counts], ""),
        middle("spread", f"{name}: until each has an answer", list(took_ms), "ms"),
    ]


def burst(server: Sluice, count: int) -> tuple[list[float], float]:
    """How many connections each worker got, and in how many milliseconds all were answered."""
    processes.poll(lambda: not inodes_of(server.port), timeout=TIMEOUT_S)
    began = time.monotonic()
    with connections(server.port, count):
        took_s = time.monotonic() - began
        return [float(each) for each in spread(server.port, server.worker_pids()).values()], took_s * 1000
