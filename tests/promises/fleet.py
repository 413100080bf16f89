"""An installation of many processes: instances on one database and one Redis, each with workers of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import httpx

from tests.access.asking import minted
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
    """The first instance has the Redis. Where it is slow for a moment, nobody goes on alone: numbers are exact here."""
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


def made(server: Sluice, path: str, fields: dict[str, Any]) -> dict[str, Any]:
    answer = server.api("POST", path, json=fields)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return dict(answer.json())


def key_of(server: Sluice, scope: str, **limits: Any) -> tuple[str, str]:
    """A token that these limits apply to by this scope, and the path to change them by."""
    name = f"{scope}-{secrets.token_hex(4)}"
    if scope == "key":
        key_id, token = minted(server, **limits)
        return token, f"/api/keys/{key_id}"
    if scope == "global":
        assert server.api("PATCH", "/api/limits/global", json=limits).status_code == httpx.codes.OK
        return minted(server)[1], "/api/limits/global"
    if scope == "user":
        user = made(server, "/api/users", {"email": f"{name}@example.org", **limits})
        return minted(server, owner=user["user"])[1], f"/api/users/{user['id']}"
    row = made(server, f"/api/{scope}s", {"name": name, **limits})
    return minted(server, **{scope: row["id"]})[1], f"/api/{scope}s/{row['id']}"
