"""A million different questions, whose answers are all stored: the response cache keeps its bound."""

from __future__ import annotations

from bench import machine
from bench.memory import MB
from bench.result import Result
from bench.servers import Servers
from bench.wrk import QUESTION, SCAN, Failed, ask
from tests.kit.services import packages

BOUND_MB = 32


def scan(servers: Servers, *, quick: bool) -> list[Result]:
    """RSS of the server after the bound has been filled twice, and after all."""
    if packages.find("wrk") is None:
        raise Failed("scan needs wrk")
    wanted = 100_000 if quick else 1_000_000
    upstream = servers.nginx_answering()
    server = servers.sluice(
        upstream,
        HTTP_CACHE_DEFAULT_POLICY="on",
        HTTP_CACHE_DEFAULT_TTL=86_400,
        HTTP_CACHE_MEMORY_BYTES=BOUND_MB * MB,
        HTTP_CACHE_STORE=False,
    )
    before = server.memory().rss
    asked, filled = 0, 0
    while asked < wanted:
        requests, _ = ask(server, seconds=15, body={**QUESTION, "seed": asked}, script=SCAN)
        asked += requests
        machine.wait_until_idle([server.pid])
        filled = filled or server.memory().rss
    after = server.memory().rss
    return [
        Result("scan", "different questions", asked, ""),
        Result("scan", f"RSS with a bound of {BOUND_MB} MB, full", (filled - before) / MB, "MB more"),
        Result("scan", "after all", (after - before) / MB, "MB more", at_most=2.0 * BOUND_MB),
    ]
