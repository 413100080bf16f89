"""Outages: Redis or PostgreSQL is away for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kit.services import PostgresServer
from tests.kit.services.redis import RedisServer

OUTAGE_S = float(os.environ.get("TEST_OUTAGE_SECS", "3"))


@contextmanager
def redis_outage(redis: RedisServer, kind: str) -> Iterator[None]:
    if kind == "stopped":
        redis.stop()
        try:
            yield
        finally:
            redis.start()
    elif kind == "frozen":
        redis.freeze()
        try:
            yield
        finally:
            redis.thaw()
    else:
        with redis.client() as client:
            client.flushall() if kind == "emptied" else client.execute_command("CLIENT", "PAUSE", int(OUTAGE_S * 1000))
        yield


@contextmanager
def postgres_outage(postgres: PostgresServer, kind: str) -> Iterator[None]:
    postgres.stop() if kind == "stopped" else postgres.freeze()
    try:
        yield
    finally:
        postgres.start() if kind == "stopped" else postgres.thaw()
