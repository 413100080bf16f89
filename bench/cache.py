"""The response cache: what a hit, a miss, and a project that leaves it alone cost beside a server without it."""

from __future__ import annotations

import uvloop

from bench import machine
from bench.result import Result, middle
from bench.servers import Server, Servers
from bench.wrk import BODY, Failed, ask
from proxy.bench.load import load
from proxy.bench.tally import percentile
from proxy.bench.target import Target


def cache(servers: Servers, *, quick: bool) -> list[Result]:
    """Four servers in turn on 64 connections: without a cache, with one that nobody asks for, and with hits and misses.

    All requests are the same, so all but the first are hits. Misses are of a server that stores no answer, since
    each is larger than it may be: it names the request, looks, and begins to record.
    """
    rounds, seconds = (2, 1.0) if quick else (9, 2.0)
    upstream = servers.nginx_answering()
    without = servers.sluice(upstream, HTTP_CACHE_ENABLED=False)
    unasked = servers.sluice(upstream)
    hits = servers.sluice(upstream, HTTP_CACHE_DEFAULT_POLICY="on")
    misses = servers.sluice(upstream, HTTP_CACHE_DEFAULT_POLICY="on", HTTP_CACHE_MAX_OBJECT_BYTES=1)
    every = (without, unasked, hits, misses)
    for server in every:
        ask(server, seconds=1)
    rates: dict[Server, list[float]] = {server: [] for server in every}
    costs: dict[Server, list[float]] = {server: [] for server in every}
    for _ in range(rounds):
        for server in every:
            machine.wait_until_idle([each.pid for each in every])
            before = server.exact_cpu_seconds()
            requests, took = ask(server, seconds=seconds)
            machine.wait_until_idle([server.pid])
            rates[server].append(requests / took)
            costs[server].append((server.exact_cpu_seconds() - before) / requests * 1e6)

    def ratio(of: dict[Server, list[float]], server: Server) -> list[float]:
        return [one / base for one, base in zip(of[server], of[without], strict=True)]

    return [
        middle("cache", "CPU without a cache", costs[without], "us/request"),
        middle("cache", "CPU with one that nobody asks for / without", ratio(costs, unasked), ""),
        middle("cache", "CPU of a miss / without", ratio(costs, misses), "", at_most=1.05),
        middle("cache", "CPU of a hit / without", ratio(costs, hits), ""),
        middle("cache", "requests/s of hits / without", ratio(rates, hits), "", at_least=2),
        middle("cache", "p50 of hits at one connection", hit_ms(hits, 300 if quick else 2000), "ms", at_most=0.5),
        *replay(servers, rounds=rounds, seconds=seconds),
    ]


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
