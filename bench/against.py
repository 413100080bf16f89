"""Compares two versions of Sluice: the CPU time that a request, and a frame of a stream, costs in each."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import uvloop

from bench import machine
from bench.result import Result, middle
from bench.servers import Server, Servers
from bench.streams import FAST, flow
from bench.wrk import ask

Cost = Callable[[Server, float], float]
"""The CPU time of one request or frame, in microseconds. Takes the server, and how many seconds to measure."""


def against(servers: Servers, *, quick: bool, other: Path) -> list[Result]:
    """Measure several servers of this checkout and of the one in `other`, one after the other in a random order.

    Processes of the same code differ by up to a tenth, and the machine changes from minute to minute. So the figure is
    a ratio: of both versions' means in the same round. Both use this Python and its packages.
    """
    results: list[Result] = []
    for measure, cost in ("request", request_us), ("frame", frame_us):
        with Servers() as ours, Servers(other) as theirs:
            upstream = ours.nginx_answering() if cost is request_us else ours.sender()
            here, there = rounds((ours, theirs), upstream, cost, copies=2 if quick else 4, count=2 if quick else 16)
        ratios = [one / another for one, another in zip(here, there, strict=True)]
        results += [
            middle("against", f"CPU of a {measure}, here", here, "us"),
            middle("against", f"CPU of a {measure}, {other.name}", there, "us"),
            middle("against", f"CPU of a {measure}, here / {other.name}", ratios, "", at_most=1.02),
        ]
    return results


def rounds(
    versions: tuple[Servers, Servers], upstream: Server, cost: Cost, *, copies: int, count: int
) -> tuple[list[float], list[float]]:
    """For each version, the mean of its servers in each round."""
    turns = [(which, version.sluice(upstream)) for which, version in enumerate(versions) for _ in range(copies)]
    for _, server in turns:
        cost(server, 2)
    means: tuple[list[float], list[float]] = [], []
    for _ in range(count):
        random.shuffle(turns)
        sums = [0.0, 0.0]
        for which, server in turns:
            machine.wait_until_idle([server.pid])
            sums[which] += cost(server, 1)
        for which, total in enumerate(sums):
            means[which].append(total / copies)
    return means


def request_us(server: Server, seconds: float) -> float:
    used = server.exact_cpu_seconds()
    requests, _ = ask(server, seconds=seconds)
    machine.wait_until_idle([server.pid])  # writing to the ledger is a part of the cost
    return (server.exact_cpu_seconds() - used) / requests * 1e6


def frame_us(server: Server, seconds: float) -> float:
    rate, share = uvloop.run(flow(server, FAST, seconds=seconds, watched=server))
    return share / rate * 1e6
