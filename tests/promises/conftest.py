"""One installation of many processes for all tests of promises that need one: it takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.fleet import Fleet, fleet_of
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream


@pytest.fixture(scope="session")
def _fleet(services: Services) -> Iterator[Fleet]:
    with Upstream() as upstream, fleet_of(upstream, LIMIT_LEASE_SECS=2) as fleet:
        yield fleet


@pytest.fixture
def fleet(_fleet: Fleet) -> Iterator[Fleet]:
    """Two instances with four workers each, their upstream as new. A test may kill a worker."""
    _fleet.upstream.reset()
    yield _fleet
    errors = _fleet.upstream.errors
    _fleet.upstream.reset()
    if errors:
        raise errors[0]


@pytest.fixture(params=["many processes", "one process"])
def place(request: pytest.FixtureRequest, upstream: Upstream) -> tuple[list[Sluice], Upstream]:
    """The servers of one installation, and their provider."""
    if request.param == "one process":
        return [request.getfixturevalue("sluice")], upstream
    fleet: Fleet = request.getfixturevalue("fleet")
    return fleet.servers, fleet.upstream
