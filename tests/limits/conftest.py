"""Both backends behind one face, so that one test holds for both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.gates import Gate, RedisGate
from tests.kit.services import Services
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


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[RedisServer]:
    """A Redis that a test may break; running and empty again for each test."""
    redis_server.start()
    with redis_server.client() as client:
        client.flushall()
    yield redis_server
    if redis_server.process is not None:
        redis_server.thaw()
