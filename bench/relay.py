"""Plain requests: how many one core handles, beside nginx doing the same, and how much latency Sluice adds to each."""

from __future__ import annotations

import uvloop

from bench import machine
from bench.result import Result, middle
from bench.servers import Server, Servers
from bench.wrk import BODY, Failed, ask
from proxy.bench.load import load
from proxy.bench.tally import percentile
from proxy.bench.target import Target


def relay(servers: Servers, *, quick: bool) -> list[Result]:
    """64 connections, to nginx and to Sluice in turn."""
    rounds, seconds = (2, 1.0) if quick else (5, 4.0)
    upstream = servers.nginx_answering()
    nginx, sluice = servers.nginx_passing(upstream), servers.sluice(upstream)
    for server in (nginx, sluice):
        ask(server, seconds=1 if quick else 3)
    rates: dict[Server, list[float]] = {nginx: [], sluice: []}
    costs: dict[Server, list[float]] = {nginx: [], sluice: []}
    for _ in range(rounds):
        for server in (nginx, sluice):
            machine.wait_until_idle([nginx.pid, sluice.pid])
            before = server.cpu_seconds()
            requests, took = ask(server, seconds=seconds)
            rates[server].append(requests / took)
            costs[server].append((server.cpu_seconds() - before) / requests * 1e6)
    ratios = [ours / theirs for ours, theirs in zip(rates[sluice], rates[nginx], strict=True)]
    by_cpu = [theirs / ours for ours, theirs in zip(costs[sluice], costs[nginx], strict=True)]
    return [
        middle("relay", "nginx proxy_pass", rates[nginx], "requests/s"),
        middle("relay", "Sluice", rates[sluice], "requests/s"),
        middle("relay", "Sluice / nginx", ratios, "", at_least=0.14),
        middle("relay", "nginx CPU", costs[nginx], "us/request"),
        middle("relay", "Sluice CPU", costs[sluice], "us/request"),
        middle("relay", "Sluice / nginx, by CPU", by_cpu, ""),
    ]


def latency(servers: Servers, *, quick: bool) -> list[Result]:
    """One connection, one request after the other. Nothing queues, so the added latency is Sluice's own time."""
    rounds, requests = (2, 300) if quick else (7, 1000)
    upstream = servers.nginx_answering()
    sluice = servers.sluice(upstream)
    samples: dict[Server, list[list[float]]] = {upstream: [], sluice: []}
    used = 0.0
    for turn in range(rounds + 1):
        if turn == 1:  # the turn before was to warm up
            used = sluice.cpu_seconds()
        for server in (upstream, sluice):
            target = Target.of(server.url, BODY, key=server.key)
            tally = uvloop.run(load(target, concurrency=1, requests=requests))
            if tally.failed:
                raise Failed(str(tally.errors))
            if turn:
                samples[server].append(sorted(tally.latencies_s))

    used = sluice.cpu_seconds() - used

    def at(server: Server, percent: float) -> list[float]:
        return [percentile(latencies, percent) * 1000 for latencies in samples[server]]

    def added(percent: float) -> list[float]:
        return [through - direct for through, direct in zip(at(sluice, percent), at(upstream, percent), strict=True)]

    return [
        middle("latency", "direct p50", at(upstream, 50), "ms"),
        middle("latency", "through Sluice p50", at(sluice, 50), "ms"),
        middle("latency", "added p50", added(50), "ms", at_most=1),
        middle("latency", "added p99", added(99), "ms"),
        Result("latency", "Sluice CPU", used / (rounds * requests) * 1e6, "us/request"),
    ]
