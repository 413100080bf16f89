"""An installation with several servers on one database and one Redis, each with workers of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream


class Fleet(NamedTuple):
    servers: list[Sluice]
    upstream: Upstream

    @property
    def first(self) -> Sluice:
        return self.servers[0]

    @property
    def last(self) -> Sluice:
        return self.servers[-1]


@contextmanager
def fleet_of(upstream: Upstream, *, instances: int = 2, workers: int = 4, **settings: Any) -> Iterator[Fleet]:
    """Start a fleet; the first server owns its Redis.

    The servers wait long for a slow Redis before they decide alone, so that limits are exact.
    """
    with ExitStack() as held:
        servers: list[Sluice] = []
        for _ in range(instances):
            database = servers[0].database_url if servers else "postgres"
            redis = servers[0].redis_url if servers else True
            given = {"upstream_url": upstream.url, "LIMIT_PATIENCE_SECS": 5, **settings}
            options = {"redis": redis, "workers": workers, **given}
            server = Sluice.start(database, **options)
            held.callback(server.close)
            servers.append(server)
        yield Fleet(servers, upstream)
