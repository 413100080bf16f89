"""What limits cost in a running server: a relay with every kind of limit on four scopes, beside one with a single
limit, which is what `bench relay` measures, and one with none."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import httpx

from bench import machine
from bench.result import Result, middle
from bench.servers import Server, Servers
from bench.wrk import ask
from keys.limits.scope import COUNT_LIMITS
from tests.kit.environment import MANAGEMENT_TOKEN
from tests.kit.services.redis import RedisServer

EVERY_KIND = {
    **{name: count.most for name, count in COUNT_LIMITS.items()},
    "budget": "9000000",
    "period": "month",
    "time_zone": "Europe/Berlin",
}
"""The highest limits that can be set: each is counted, and none is reached."""

RELAY, NONE, HERE, SHARED_NONE, SHARED = (
    "one limit",
    "no limit",
    "every limit, in the process",
    "no limit, with Redis",
    "every limit, in Redis",
)
WANTED = {HERE: 0.90, SHARED: 0.75}
"""The ratios that are wanted, to the figure of `RELAY`, which has one limit of requests per minute."""


def admission(servers: Servers, *, quick: bool) -> list[Result]:
    """64 connections to one worker of each kind, in turn."""
    rounds, seconds = (2, 1.0) if quick else (7, 3.0)
    upstream = servers.nginx_answering()
    with ExitStack() as stack:
        stores = {name: stack.enter_context(RedisServer()) for name in (SHARED_NONE, SHARED)}
        for store in stores.values():
            assert store.process is not None
            machine.pin(store.process.pid, machine.REST)
        tested: dict[str, Server] = {}
        for name in (RELAY, NONE, HERE, SHARED_NONE, SHARED):
            settings = {"REDIS_URL": stores[name].url} if name in stores else {}
            tested[name] = server = servers.sluice(upstream, **settings)
            if name != RELAY:
                server.key = new_key(server, EVERY_KIND if name in WANTED else {})
            ask(server, seconds=1 if quick else 3)
        return measured(tested, stores[SHARED], rounds, seconds)


def measured(tested: dict[str, Server], store: RedisServer, rounds: int, seconds: float) -> list[Result]:
    assert store.process is not None
    rates: dict[str, list[float]] = {name: [] for name in tested}
    costs: dict[str, list[float]] = {name: [] for name in tested}
    of_redis: list[float] = []
    for _ in range(rounds):
        for name, server in tested.items():
            machine.wait_until_idle(each.pid for each in tested.values())
            before, redis_before = server.cpu_seconds(), machine.cpu_seconds(store.process.pid)
            requests, took = ask(server, seconds=seconds)
            rates[name].append(requests / took)
            costs[name].append((server.cpu_seconds() - before) / requests * 1e6)
            if name == SHARED:
                of_redis.append((machine.cpu_seconds(store.process.pid) - redis_before) / requests * 1e6)
    results = []
    for name in tested:
        results.append(middle("admission", name, rates[name], "requests/s"))
        results.append(middle("admission", f"{name}: CPU", costs[name], "us/request"))
    results.append(middle("admission", f"{SHARED}: CPU of Redis", of_redis, "us/request"))
    for name, base in ((HERE, RELAY), (SHARED, RELAY), (HERE, NONE), (SHARED_NONE, NONE), (SHARED, NONE)):
        by_rate = [one / own for one, own in zip(rates[name], rates[base], strict=True)]
        by_cpu = [own / one for one, own in zip(costs[name], costs[base], strict=True)]
        wanted = {"at_least": WANTED[name]} if base == RELAY else {}
        results.append(middle("admission", f"{name} / {base}", by_rate, "", **wanted))
        results.append(middle("admission", f"{name} / {base}, by CPU", by_cpu, "", **wanted))
    return results


def new_key(server: Server, limits: dict[str, Any]) -> str:
    """Make a key with an owner, a team and a project of its own, all four with these limits. Returns its token."""
    headers = {"authorization": f"Bearer {MANAGEMENT_TOKEN}"}
    with httpx.Client(base_url=f"{server.root}/api/", headers=headers, timeout=30, trust_env=False) as api:

        def call(method: str, path: str, **fields: Any) -> Any:
            answer = api.request(method, path, json={**fields, **limits})
            if answer.is_error:
                raise RuntimeError(f"{method} /api/{path}: {answer.status_code} {answer.text}")
            return answer.json()

        owner = call("POST", "users", email="bench@example.org")["user"]
        team = call("POST", "teams", name="bench", members=[owner])["id"]
        project = call("POST", "projects", name="bench")["id"]
        return str(call("POST", "keys", name="bench", owner=owner, team=team, project=project)["key"])
