"""PostgreSQL and Redis for the tests: private servers from local programs, started when first needed.

`TEST_DATABASE_URL` and `TEST_REDIS_URL` name servers to use instead. The user of the first one must be allowed to
create databases.
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
    """What all tests of one process share. `close()` stops the servers and removes the files."""

    def __init__(self) -> None:
        self._started = ExitStack()

    @staticmethod
    def programs() -> set[str]:
        """The programs that `postgres` and `redis()` need."""
        needed: set[str] = set()
        if not os.environ.get("TEST_DATABASE_URL"):
            needed |= {"postgres", "initdb"}
        if not os.environ.get("TEST_REDIS_URL"):
            needed |= {"redis-server"}
        return needed

    @cached_property
    def directory(self) -> Path:
        """A directory for files that live as long as the session."""
        path = processes.make_directory("session")
        self._started.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    @cached_property
    def postgres(self) -> Databases:
        """The PostgreSQL server that all tests share. Each server under test has its own database in it."""
        if url := os.environ.get("TEST_DATABASE_URL"):
            return Databases(url)
        packages.require(["postgres", "initdb"])
        server = PostgresServer()
        self._started.callback(server.close)
        return server.start()

    def redis(self) -> RedisServer | str:
        """A new Redis, which the caller stops; or the URL of the one in `TEST_REDIS_URL`, which is emptied."""
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
