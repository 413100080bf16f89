"""P5: every limit holds on every scope, and one comparison holds everywhere: what is exactly reached blocks."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.kit.accounts import SCOPES, new_crew
from tests.kit.ledger import booked
from tests.kit.management import MODEL, usd
from tests.kit.sluice import ALONE_AND_WITH_REDIS, Sluice
from tests.kit.spending import BOUNDED, COST, Books, post, statuses, wave
from tests.kit.upstream import Upstream
from tests.kit.waiting import in_force, soon

FREE = "free-model"

pytestmark = pytest.mark.server(each=ALONE_AND_WITH_REDIS, prices={MODEL: {}, FREE: {"output": "0"}})
ONE: dict[str, dict[str, Any]] = {
    "rpm": {"rpm": 1},
    "tpm": {"tpm": 1_500},
    "rps": {"rps": 1},
    "parallel": {"parallel": 1},
    "daily": {"daily": 1},
    "max_requests": {"max_requests": 1},
    "budget": {"budget": usd(COST)},
}
"""Each lets one request through."""
NAMES = {
    "rpm": "requests per minute",
    "tpm": "tokens per minute",
    "rps": "requests per second",
    "parallel": "requests at once",
    "daily": "requests per day",
    "max_requests": "requests in all",
    "budget": "Budget reached",
}
QUOTAS = ("max_requests", "budget")


@pytest.mark.parametrize("limit", ONE)
@pytest.mark.parametrize("kind", [kind for kind in SCOPES if kind != "global"])
def test_one_is_let_through(server: Sluice, upstream: Upstream, kind: str, limit: str):
    upstream.script = Books(takes_s=1 if limit == "parallel" else 0)
    crew = new_crew(server, **{kind: ONE[limit]})
    answers = wave([server], crew.token, 3, **BOUNDED)
    assert statuses(answers) == {200: 1, 429: 2}
    error = next(got for got in answers if got.status == 429).error
    assert error["code"] == ("insufficient_quota" if limit in QUOTAS else "rate_limit_exceeded")
    assert NAMES[limit] in error["message"]
    assert f"{kind} " in error["message"]


@pytest.mark.parametrize("limit", ONE)
def test_the_gateway_s_own_limits_hold_for_all(server: Sluice, upstream: Upstream, limit: str):
    """What others have used counts for those with a past, so only that it blocks is told."""
    upstream.script = Books(takes_s=0.1 if limit == "parallel" else 0)
    crews = [new_crew(server) for _ in range(2)]

    def one_is_refused() -> bool:
        answers = [got for crew in crews for got in wave([server], crew.token, 2, **BOUNDED)]
        return any(got.status == 429 and NAMES[limit] in got.error["message"] for got in answers)

    assert server.api("PATCH", "/api/limits/global", json=ONE[limit]).status_code == httpx.codes.OK
    try:
        soon(one_is_refused)
    finally:
        assert server.api("PATCH", "/api/limits/global", json={limit: None}).status_code == httpx.codes.OK
    in_force(lambda: post(server, crews[0].token, **BOUNDED).status == 200)


def test_a_budget_exactly_reached_blocks_and_a_picodollar_s_worth_below_does_not(server: Sluice, upstream: Upstream):
    upstream.script = Books()
    crew = new_crew(server, key={"budget": usd(2 * COST)})
    assert [post(server, crew.token, **BOUNDED).status for _ in range(3)] == [200, 200, 429]
    crew = new_crew(server, key={"budget": usd(2 * COST + 10**6)})
    dear: dict[str, Any] = {"model": "budget-model"}
    assert [post(server, crew.token, **dear).status for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.parametrize("kind", [kind for kind in SCOPES if kind != "global"])
def test_a_budget_of_nothing_blocks(server: Sluice, upstream: Upstream, kind: str):
    crew = new_crew(server, **{kind: {"budget": "0"}})
    assert post(server, crew.token, **BOUNDED).error["code"] == "insufficient_quota"
    assert upstream.requests == []


def test_what_costs_nothing_counts_as_requests_and_tokens_all_the_same(server: Sluice, upstream: Upstream):
    upstream.script = Books()
    for limit in ("rpm", "tpm", "rps", "daily", "max_requests"):
        crew = new_crew(server, key={**ONE[limit], "budget": usd(COST)})
        answers = wave([server], crew.token, 3, model=FREE, max_tokens=1_000)
        assert statuses(answers) == {200: 1, 429: 2}, limit
        assert booked(server, crew) == 0
        assert all(NAMES[limit] in got.error["message"] for got in answers if got.status == 429)
