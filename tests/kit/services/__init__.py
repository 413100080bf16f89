"""PostgreSQL and Redis for the tests: private servers from local programs, started when first needed.

`TEST_DATABASE_URL` and `TEST_REDIS_URL` name servers to use instead; the first must be allowed to create databases.
"""

from __future__ import annotations

import atexit
import os
import shutil
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from tests.kit.services import packages, processes
from tests.kit.services.packages import Missing
from tests.kit.services.postgres import Databases, PostgresServer
from tests.kit.services.redis import RedisServer

__all__ = ["SERVICES", "Databases", "Missing", "PostgresServer", "RedisServer", "Services"]


class Services:
    """What the tests of one process share. `close()` ends all of it."""

    def __init__(self) -> None:
        self._started = ExitStack()

    @staticmethod
    def programs() -> set[str]:
        """What has to be installed for `postgres` and `redis()` to work."""
        needed: set[str] = set()
        if not os.environ.get("TEST_DATABASE_URL"):
            needed |= {"postgres", "initdb"}
        if not os.environ.get("TEST_REDIS_URL"):
            needed |= {"redis-server"}
        return needed

    @cached_property
    def directory(self) -> Path:
        """For files that live as long as the session."""
        path = processes.make_directory("session")
        self._started.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    @cached_property
    def postgres(self) -> Databases:
        """The one PostgreSQL server that all share; each test server has its own database in it."""
        if url := os.environ.get("TEST_DATABASE_URL"):
            return Databases(url)
        packages.require(["postgres", "initdb"])
        server = PostgresServer()
        self._started.callback(server.close)
        return server.start()

    def redis(self) -> RedisServer | str:
        """A Redis of one's own, to be stopped by who asked; or the URL of the one that is given, emptied."""
        if url := os.environ.get("TEST_REDIS_URL"):
            import redis

            client = redis.Redis.from_url(url)
            client.flushdb()
            client.close()
            return url
        packages.require(["redis-server"])
        return RedisServer().start()

    def close(self) -> None:
        self._started.close()
        for name in ("directory", "postgres"):
            self.__dict__.pop(name, None)


SERVICES = Services()
atexit.register(SERVICES.close)
