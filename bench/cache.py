"""The response cache: what a hit, a miss, and a project that leaves it alone cost beside a server without it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import uvloop

from bench import machine
from bench.result import Result, middle
from bench.servers import Server, Servers
from bench.wrk import BODY, QUESTION, SCAN, Failed, ask
from proxy.bench.load import load
from proxy.bench.tally import percentile
from proxy.bench.target import Target


def cache(servers: Servers, *, quick: bool) -> list[Result]:
    """Servers in turn on 64 connections: without a cache, with one that nobody asks for, and with hits, where all
    requests are the same; and without a cache and with misses, where no request is like another and each answer is
    stored: in memory, and in the database too.
    """
    rounds, seconds = (2, 1.0) if quick else (9, 2.0)
    upstream = servers.nginx_answering()
    without = servers.sluice(upstream, HTTP_CACHE_ENABLED=False)
    unasked = servers.sluice(upstream)
    hits = servers.sluice(upstream, HTTP_CACHE_DEFAULT_POLICY="on")
    misses = servers.sluice(upstream, HTTP_CACHE_DEFAULT_POLICY="on", HTTP_CACHE_STORE=False)
    stored = servers.sluice(upstream, HTTP_CACHE_DEFAULT_POLICY="on")
    every = (without, unasked, hits, misses, stored)
    for server in every:
        ask(server, seconds=1)
    alike = {server: Measured() for server in (without, unasked, hits)}
    different = {server: Measured() for server in (without, misses, stored)}
    for number in range(rounds):
        for server, measured in alike.items():
            measured.add(server, every, seconds)
        for server, measured in different.items():
            measured.add(server, every, seconds, body={**QUESTION, "seed": number}, script=SCAN)
    base, question = alike[without], different[without]
    return [
        middle("cache", "CPU without a cache", base.costs, "us/request"),
        middle("cache", "CPU with one that nobody asks for / without", ratios(alike[unasked].costs, base.costs), ""),
        middle("cache", "CPU of a miss / without", ratios(different[misses].costs, question.costs), "", at_most=1.05),
        middle("cache", "with the database", ratios(different[stored].costs, question.costs), ""),
        middle("cache", "CPU of a hit / without", ratios(alike[hits].costs, base.costs), ""),
        middle("cache", "requests/s of hits / without", ratios(alike[hits].rates, base.rates), "", at_least=2),
        middle("cache", "p50 of hits at one connection", hit_ms(hits, 300 if quick else 2000), "ms", at_most=0.5),
        *replay(servers, rounds=rounds, seconds=seconds),
    ]


class Measured:
    """Requests a second of a server, and the microseconds of CPU of each."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.costs: list[float] = []

    def add(self, server: Server, every: Iterable[Server], seconds: float, **how: Any) -> None:
        machine.wait_until_idle([each.pid for each in every])
        before = server.exact_cpu_seconds()
        requests, took = ask(server, seconds=seconds, **how)
        machine.wait_until_idle([server.pid])
        self.rates.append(requests / took)
        self.costs.append((server.exact_cpu_seconds() - before) / requests * 1e6)


def ratios(some: list[float], base: list[float]) -> list[float]:
    return [one / other for one, other in zip(some, base, strict=True)]


def replay(servers: Servers, *, rounds: int, seconds: float) -> list[Result]:
    """One stored stream of about 1,000 frames for 8 connections, which read it as fast as it comes."""
    server = servers.sluice(servers.simulator(), HTTP_CACHE_DEFAULT_POLICY="on")
    asked = {**BODY, "model": "simulator", "stream": True, "simulate": {"tokens": 1000}}
    target = Target.of(server.url, asked, key=server.key)
    first = uvloop.run(load(target, concurrency=1, requests=1))
    rates, by_cpu = [], []
    for _ in range(rounds):
        before = server.exact_cpu_seconds()
        tally = uvloop.run(load(target, concurrency=8, seconds=seconds))
        if tally.failed or first.failed:
            raise Failed(str(first.errors + tally.errors))
        rates.append(tally.frames / tally.seconds)
        by_cpu.append(tally.frames / (server.exact_cpu_seconds() - before))
    return [
        middle("cache", "frames of a stored stream", [float(first.frames)], ""),
        middle("cache", "frames/s of its replays", rates, "frames/s", at_least=50_000),
        middle("cache", "for a CPU second of Sluice", by_cpu, "frames"),
    ]


def hit_ms(server: Server, requests: int) -> list[float]:
    """The median of each of five rounds."""
    target = Target.of(server.url, BODY, key=server.key)
    medians = []
    for _ in range(5):
        tally = uvloop.run(load(target, concurrency=1, requests=requests))
        if tally.failed:
            raise Failed(str(tally.errors))
        medians.append(percentile(sorted(tally.latencies_s), 50) * 1000)
    return medians
