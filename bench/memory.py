"""Measures memory: of one process at rest, of an open stream, and after very many requests."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import uvloop

from bench import machine
from bench.readers import Readers
from bench.result import Result
from bench.servers import Server, Servers
from bench.wrk import BODY, Failed, ask
from proxy.bench.load import load
from proxy.bench.target import Target
from usage.ledger_process import NAME

MB = 1024 * 1024
KB = 1024
SETTLE_S = 1.0
WINDOW_S = 60
"""A limit per minute keeps the times of the last minute's requests, so memory grows by them for the first minute."""


def memory(servers: Servers, *, quick: bool) -> list[Result]:
    count = 1000
    sender = servers.sender()
    sluice = servers.sluice(sender)
    time.sleep(SETTLE_S)
    started = sluice.memory()
    send(sluice, requests=1000)
    time.sleep(SETTLE_S)
    used = sluice.memory()
    opened = uvloop.run(with_streams(sluice, count, seconds=2 if quick else 4))
    return [
        Result("memory", "after start, RSS", started.rss / MB, "MB"),
        Result("memory", "after start, PSS", started.pss / MB, "MB"),
        Result("memory", "after 1,000 requests, RSS", used.rss / MB, "MB", at_most=130),
        Result("memory", "after 1,000 requests, PSS", used.pss / MB, "MB"),
        Result("memory", "an open stream (of 1,000)", (opened - used.rss) / count / KB, "KB", at_most=40),
    ]


async def with_streams(server: Server, count: int, *, seconds: float) -> int:
    """The server's RSS while `count` streams are open, with a frame a second on each."""
    async with Readers(server, count, every_s=1.0) as readers:
        await asyncio.sleep(seconds)
        rss = server.memory().rss
        if readers.lost or readers.frames < count:
            raise Failed(f"{readers.lost} of {count} streams ended; {readers.frames} frames came")
    return rss


def growth(servers: Servers, *, quick: bool) -> list[Result]:
    """RSS of the server and of its ledger process after each of ten batches, once all buffers and caches are full."""
    warm_s, batches, size = (3, 5, 2_000) if quick else (WINDOW_S + 5, 10, 20_000)
    upstream = servers.nginx_answering()
    sluice = servers.sluice(upstream)
    pids = {"RSS": sluice.pid, "the ledger's RSS": ledger_of(sluice)}
    ask(sluice, seconds=warm_s)
    points: dict[str, list[float]] = {name: [] for name in pids}
    for batch in range(batches + 1):
        if batch:
            send(sluice, requests=size)
        machine.wait_until_idle(pids.values())  # until the rows are written
        for name, pid in pids.items():
            points[name].append(float(machine.memory(pid).rss))
    return [result for name in pids for result in grown(name, points[name], size, quick=quick)]


def ledger_of(server: Server) -> int:
    """The ledger process of a server."""
    return next(pid for pid in machine.children(server.pid) if Path(f"/proc/{pid}/comm").read_text().strip() == NAME)


def grown(name: str, points: list[float], size: int, *, quick: bool) -> list[Result]:
    slope = slope_of(points) * 100_000 / size
    megabytes = [point / MB for point in points]
    points_text = " ".join(f"{point:.1f}" for point in megabytes)
    print(f"growth: {name}, MB after each {size:,} requests: {points_text}", file=sys.stderr)
    requests = (len(points) - 1) * size
    return [
        Result("growth", f"{name} before {requests:,} requests", megabytes[0], "MB"),
        Result("growth", f"{name} after {requests:,} requests", megabytes[-1], "MB", samples=megabytes),
        Result("growth", f"{name}: slope for 100,000 requests", slope / MB, "MB", at_most=None if quick else 1),
    ]


def send(server: Server, *, requests: int) -> None:
    target = Target.of(server.url, BODY, key=server.key)
    tally = uvloop.run(load(target, concurrency=64, requests=requests))
    if tally.failed:
        raise Failed(str(tally.errors))


def slope_of(points: list[float]) -> float:
    """The growth in one step, by least squares."""
    middle_x, middle_y = (len(points) - 1) / 2, sum(points) / len(points)
    above = sum((x - middle_x) * (y - middle_y) for x, y in enumerate(points))
    return above / sum((x - middle_x) ** 2 for x in range(len(points)))
