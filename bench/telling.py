"""What the journal, the ledger process and the metrics cost the relay: the same server with and without them."""

from __future__ import annotations

from bench import machine
from bench.result import Result, middle
from bench.servers import Server, Servers
from bench.wrk import ask

WITHOUT, WITH = "without journal and metrics", "with them"


def telling(servers: Servers, *, quick: bool) -> list[Result]:
    """64 connections to the two servers in turn, each while the other is idle."""
    rounds, seconds = (2, 1.0) if quick else (7, 4.0)
    upstream = servers.nginx_answering()
    tested: dict[str, Server] = {
        WITHOUT: servers.sluice(upstream, program=("-m", "bench.bare")),
        WITH: servers.sluice(upstream),
    }
    for server in tested.values():
        ask(server, seconds=1 if quick else 3)
    rates: dict[str, list[float]] = {name: [] for name in tested}
    for _ in range(rounds):
        for name, server in tested.items():
            machine.wait_until_idle(each.pid for each in tested.values())
            requests, took = ask(server, seconds=seconds)
            rates[name].append(requests / took)
    ratios = [one / other for one, other in zip(rates[WITH], rates[WITHOUT], strict=True)]
    return [
        *(middle("telling", name, rates[name], "requests/s") for name in tested),
        middle("telling", f"{WITH} / {WITHOUT}", ratios, "", at_least=0.90),
    ]
