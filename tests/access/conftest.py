"""A server that asks nobody for a key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream


@pytest.fixture(scope="module")
def open_sluice(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    with Sluice.start(upstream_url=_upstream.url, REQUIRE_API_KEY=False) as server:
        yield server
