"""What admission costs: one reservation and its settling, in this process and in a Redis on this machine."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from itertools import count, cycle

import msgspec
import redis
import redis.asyncio
import uvloop

from bench.result import Result, middle
from bench.servers import Servers
from keys.limits import Ask, Baseline, Limits, MemoryLimits, Scope, Unknown
from keys.limits.connection import connect
from keys.limits.operations import Batch, RecordedReservation, Reserve, Wording
from keys.limits.redis import RedisLimits
from keys.limits.script import DIGEST
from tests.kit.services.redis import RedisServer

NEVER = 10**9
ASK = Ask(tokens=500, cost=10**9, bounded=True)
EVERY_KIND = Limits(NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, 10**21, "month", 0.8, "Europe/Berlin")
ONE = (Scope("key", "one", "", Limits(rpm=NEVER)),)
FOUR = tuple(Scope(kind, "four", "", EVERY_KIND) for kind in ("key", "user", "team", "project"))
OTHER = (Scope("key", "other", "", EVERY_KIND), *FOUR[1:])
NOW = 1_780_315_200.0
CASES = {"one scope, requests per minute": ONE, "four scopes, every kind of limit": FOUR}
IN_TURN = "the same, two keys of one project in turn"


def limits(servers: Servers, *, quick: bool) -> list[Result]:
    results = in_this_process(4_000 if quick else 40_000)
    with RedisServer() as server:
        results += uvloop.run(in_redis(server.url, 1_000 if quick else 10_000))
    return results


def in_this_process(times: int) -> list[Result]:
    results = []
    cases = [*((name, [scopes]) for name, scopes in CASES.items()), (IN_TURN, [FOUR, OTHER])]
    for (name, keys), at_most in zip(cases, (6, 25, 25), strict=True):
        backend, step, turn = MemoryLimits(clock=lambda: NOW), count(), cycle(keys)
        for scopes in keys:
            _load(backend, scopes)

        def one(
            backend: MemoryLimits = backend, step: count[int] = step, turn: cycle[tuple[Scope, ...]] = turn
        ) -> None:
            backend.reserve_at_once(next(turn), ASK, NOW + next(step) * 1e-4).settle(400, 10**8)

        samples = [_us_of(one, times) for _ in range(5)]
        results.append(middle("limits", f"in this process: {name}", samples, "µs", at_most=at_most))
    return results


def _load(backend: MemoryLimits, scopes: tuple[Scope, ...]) -> None:
    try:
        backend.reserve_at_once(scopes, ASK, NOW)
    except Unknown as unknown:
        for need in unknown.needs:
            backend.load(need, Baseline())


async def in_redis(url: str, times: int) -> list[Result]:
    client = connect(url)
    backend = RedisLimits(client, timeout_s=5)
    await backend.start()
    try:
        await backend.reserve(FOUR, ASK, NOW)
    except Unknown as unknown:
        for need in unknown.needs:
            backend.load(need, Baseline())
    results = []
    for name, scopes in CASES.items():
        for at_once in (1, 64):
            wall, own, redis_cpu = await _run(backend, url, scopes, at_once, max(1, times // at_once))
            case = f"Redis, {at_once} at once: {name}"
            results.append(Result("limits", f"{case}: time", wall, "µs"))
            results.append(Result("limits", f"{case}: CPU here", own, "µs"))
            results.append(Result("limits", f"{case}: CPU of Redis", redis_cpu, "µs"))
    pipelined = await _pipelined(backend, url, max(2, times // 64))
    results.append(Result("limits", "the same as a pipeline of 64 scripts, without settling: time", pipelined, "µs"))
    await backend.close()
    await client.aclose()
    return results


async def _run(
    backend: RedisLimits, url: str, scopes: tuple[Scope, ...], at_once: int, times: int
) -> tuple[float, ...]:
    async def one_after_the_other() -> None:
        for _ in range(times):
            (await backend.reserve(scopes, ASK, NOW)).settle(400, 10**8)

    redis_before, own_before, began = _cpu_of(url), _own_cpu(), time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    await backend.drain()
    spent = (time.perf_counter() - began, _own_cpu() - own_before, _cpu_of(url) - redis_before)
    return tuple(seconds / times / at_once * 1e6 for seconds in spent)


async def _pipelined(backend: RedisLimits, url: str, times: int) -> float:
    """Measure the rejected alternative: a script for each request, 64 in one write."""
    epoch, number, loop = backend._batches.epoch, count(1), asyncio.get_running_loop()
    client = redis.asyncio.Redis.from_url(url)
    wording = Wording(b"{sluice:limits}:", "bench")
    began = time.perf_counter()
    for _ in range(times):
        pipeline = client.pipeline(transaction=False)
        for _ in range(64):
            at = next(number)
            batch = Batch(wording, time.time())
            line = Reserve(RecordedReservation(at, FOUR, ASK, True, at, 0), loop.create_future()).write(batch)
            head = ["bench", 1, at, epoch, epoch, 0, 15_000_000, "{sluice:limits}:held:"]
            pipeline.execute_command(
                "EVALSHA", DIGEST, len(batch.keys), *batch.keys, msgspec.msgpack.encode([*head, batch.specs, [line]])
            )
        await pipeline.execute()
    seconds = time.perf_counter() - began
    await client.aclose()
    return seconds / times / 64 * 1e6


def _us_of(call: Callable[[], None], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times * 1e6


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _cpu_of(url: str) -> float:
    with redis.Redis.from_url(url) as client:
        info = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
