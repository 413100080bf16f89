"""P6: a period ends while requests run: once, at its boundary and not before, over many processes and in one.

Nobody waits for midnight: the servers know time zones of the test's own, in which it is a few seconds away.
"""

from __future__ import annotations

import itertools
import struct
import time
import zoneinfo
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.kit.accounts import Crew, new_crew
from tests.kit.fleet import fleet_of
from tests.kit.ledger import booked
from tests.kit.management import set_price, usd
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.spending import BOUNDED, COST, Books, post, wave
from tests.kit.upstream import Upstream
from tests.kit.waiting import soon

DAY_S = 86_400
EVERY_S = 4
"""Between the midnights of two zones."""
ZONES = 200
AHEAD_S = 8
"""Enough to spend a budget before it."""
AFTER_S = 2.0
BETWEEN_S = 0.02
"""Of two requests: often enough for one to be let in too early, and the machine is left to others."""


def zone_file(offset_s: int) -> bytes:
    """A zone that is always as far from UTC (RFC 8536, version 1): a header, one type of local time, its name."""
    name = b"TEST\0"
    return struct.pack(">4s16x6l", b"TZif", 0, 0, 0, 0, 1, len(name)) + struct.pack(">lbB", offset_s, 0, 0) + name


@pytest.fixture(scope="module")
def midnights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A directory of zones, and when the next day begins in each of them, in Unix seconds."""
    directory = tmp_path_factory.mktemp("zones")
    (directory / "Test").mkdir()
    found = {}
    for number in range(ZONES):
        at = int(time.time()) + number * EVERY_S
        east = -at % DAY_S
        name = f"Test/Zone{number}"
        (directory / name).write_bytes(zone_file(east if east < DAY_S // 2 else east - DAY_S))
        found[name] = at
    return directory, found


@pytest.fixture(scope="module", params=["many processes", "in the process"])
def servers(
    request: pytest.FixtureRequest, services: Services, _upstream: Upstream, midnights: tuple[Path, dict[str, int]]
) -> Iterator[list[Sluice]]:
    zones: dict[str, Any] = {"PYTHONTZPATH": ":".join([str(midnights[0]), *zoneinfo.TZPATH])}
    if request.param == "many processes":
        with fleet_of(_upstream, **zones) as fleet:
            set_price(fleet.first)
            yield fleet.servers
        return
    with Sluice.start(upstream_url=_upstream.url, **zones) as server:
        set_price(server)
        yield [server]


def test_a_budget_is_whole_again_at_midnight_and_not_before(
    servers: list[Sluice], upstream: Upstream, midnights: tuple[Path, dict[str, int]]
):
    books = upstream.script = Books()
    zone, midnight = min(
        ((name, at) for name, at in midnights[1].items() if at >= time.time() + AHEAD_S), key=lambda found: found[1]
    )
    budget = {"budget": usd(2 * COST), "period": "day", "time_zone": zone}
    crew = new_crew(servers[0], key=budget, project=budget)
    assert [post(server, crew.token, **BOUNDED).status for server in (servers * 2)[:2]] == [200, 200]
    soon(lambda: b"reserved by" not in post(servers[-1], crew.token, **BOUNDED).body)
    asked_at = time.time()
    refused = post(servers[-1], crew.token, **BOUNDED)
    assert refused.status == 429
    assert midnight - time.time() - 2 <= int(refused.headers["retry-after"]) <= midnight - asked_at + 2
    accepted = accepted_at(servers, crew, until=midnight + AFTER_S)
    assert len(accepted) == 2
    assert min(accepted) >= midnight
    assert books.answered == 4
    assert {got.status for got in wave(servers, crew.token, 32, **BOUNDED)} == {429}
    soon(lambda: booked(servers[0], crew) == 4 * COST)


def accepted_at(servers: Sequence[Sluice], crew: Crew, until: float) -> list[float]:
    """When the answers came of those that were let in (Unix seconds) of requests that follow one another."""
    accepted: list[float] = []
    for server in itertools.cycle(servers):
        if time.time() >= until:
            return accepted
        time.sleep(BETWEEN_S)
        got = post(server, crew.token, **BOUNDED)
        if got.status == 200:
            accepted.append(time.time())
        else:
            assert got.status == 429
            assert int(got.headers["retry-after"]) <= DAY_S
    raise AssertionError("the cycle has no end")
