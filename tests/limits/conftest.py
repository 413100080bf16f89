"""Both backends behind one face, so that one test holds for both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.gates import Gate, RedisGate
from tests.kit.services import Services, packages
from tests.kit.services.redis import RedisServer


@pytest.fixture(scope="session")
def redis_url(services: Services) -> Iterator[str]:
    server = services.redis()
    yield server.url if isinstance(server, RedisServer) else server
    if isinstance(server, RedisServer):
        server.stop()


@pytest.fixture(params=["this process", "redis"])
def gate(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Gate]:
    gate = Gate() if request.param == "this process" else RedisGate(redis_url)
    yield gate
    gate.close()


@pytest.fixture(scope="module")
def _server(services: Services) -> Iterator[RedisServer]:
    packages.require(["redis-server"])
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(_server: RedisServer) -> Iterator[RedisServer]:
    """A Redis of our own, because it is broken here; running and empty again for each test."""
    _server.start()
    client = _server.client()
    client.flushall()
    client.close()
    yield _server
    if _server.process is not None:
        _server.thaw()
