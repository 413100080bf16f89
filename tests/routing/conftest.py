"""A server for the module whose own provider comes last, so that a test's providers go first for their models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.management import changed
from tests.kit.providers import AddProvider, let_changes_arrive, new_provider
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream


@pytest.fixture(scope="module")
def router(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    with Sluice.start(
        upstream_url=_upstream.url, OPENAI_KEYS="second=sk-second-canary,third=sk-third-canary"
    ) as server:
        own = server.api("GET", "/api/providers").json()["results"][0]["id"]
        changed(server, f"/api/providers/{own}", priority=100)
        yield server


@pytest.fixture(scope="module")
def key(router: Sluice) -> str:
    return router.mint()


@pytest.fixture
def add_provider(router: Sluice, upstream: Upstream, key: str) -> Iterator[AddProvider]:
    """`add_provider("azure", "/openai", models={"m": ""})`: at this path of the upstream; gone after the test."""
    made: list[int] = []

    def add(name: str, path: str = "", **fields: Any) -> int:
        fields.setdefault("base_url", f"http://127.0.0.1:{upstream.port}{path}")
        made.append(new_provider(router, name, **fields))
        let_changes_arrive(router, key)
        return made[-1]

    yield add
    for provider_id in made:
        router.api("DELETE", f"/api/providers/{provider_id}")
    let_changes_arrive(router, key)
