"""One decision needs its keys in one slot of a cluster, whatever the scopes are called."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio

from keys.limits import Ask, Baseline, LimitExceeded, Scope, Unknown
from keys.limits.redis import RedisLimits
from tests.kit.scopes import USD, Clock, scope
from tests.kit.services import Services, packages, processes


@pytest.fixture(scope="module")
def cluster_port(services: Services) -> Iterator[int]:
    """A cluster of one node, which refuses what spans slots as a larger one does."""
    packages.require(["redis-server"])
    program = packages.find("redis-server")
    assert program
    directory, port = processes.make_directory("cluster"), processes.free_port()
    options = ["--port", port, "--cluster-port", processes.free_port(), "--dir", directory, "--save", ""]
    cluster = ["--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]
    server = processes.start([program, *map(str, options), *cluster])
    client = redis.Redis(port=port)
    assert processes.poll(lambda: _answers(client), timeout=20)
    client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    assert processes.poll(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", timeout=20)
    yield port
    client.close()
    processes.end(server)
    shutil.rmtree(directory, ignore_errors=True)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False


def test_all_scopes_are_decided_at_once_in_a_cluster_and_a_dead_process_buried(cluster_port: int):
    async def test() -> None:
        clock = Clock()
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster_port)
        killed, other = [RedisLimits(client, clock=clock, timeout_s=5) for _ in range(2)]
        scopes = [scope(kind, parallel=1, budget=USD) for kind in ("key", "user", "team", "project", "address")]
        await killed.start()
        await other.start()
        await reserve(killed, scopes)
        with pytest.raises(LimitExceeded):
            await reserve(other, scopes)
        killed._renewal.cancel()  # type: ignore[union-attr]
        clock.pass_by(15)
        reservation = await reserve(other, scopes)
        reservation.settle(cost=USD)
        await other.drain()
        with pytest.raises(LimitExceeded, match="budget"):
            await reserve(other, scopes)
        await other.close()
        await client.aclose()

    async def reserve(limits: RedisLimits, scopes: list[Scope]):
        try:
            return await limits.reserve(tuple(scopes), Ask(cost=USD, bounded=True), 0)
        except Unknown as unknown:
            for need in unknown.needs:
                limits.load(need, Baseline())
            return await limits.reserve(tuple(scopes), Ask(cost=USD, bounded=True), 0)

    asyncio.run(test())
