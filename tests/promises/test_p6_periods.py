"""P6: what was spent before a period's boundary counts in its own period alone, wherever the boundary is.

The server's clock cannot be set; so events of the past are left in its journal while it is down, as if they had waited
there: a microsecond before the boundary, on it, and some periods earlier.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.kit.accounts import Crew, new_crew
from tests.kit.management import MODEL, usd
from tests.kit.sluice import Sluice
from tests.kit.spending import BOUNDED, COST, Books, post
from tests.kit.upstream import Upstream
from tests.kit.waiting import soon
from usage.event import RequestEvent
from usage.journal.record import encode, sealed

ZONES = ("UTC", "Asia/Kathmandu", "Pacific/Kiritimati", "America/St_Johns", "Pacific/Chatham", "Australia/Eucla")
MIDNIGHT_AT_LEAST_S = 120.0
"""Until the next midnight of a zone that is tested: none comes meanwhile."""
PERIODS = ("day", "week", "month")
ALONE_OR_MANY: dict[str, dict[str, Any]] = {"in the process": {}, "in Redis": {"redis": True, "workers": 2}}

pytestmark = pytest.mark.server(each=ALONE_OR_MANY, prices={MODEL: {}}, LIMIT_PATIENCE_SECS=5)


def began(period: str, zone: str) -> datetime:
    """The midnight on which this period began, worked out apart from the product."""
    today = datetime.now(ZoneInfo(zone)).date()
    back = {"day": 0, "week": today.weekday(), "month": today.day - 1}[period]
    return datetime.combine(today - timedelta(days=back), time(), ZoneInfo(zone)).astimezone(UTC)


def has_spent(server: Sluice, crew: Crew) -> bool:
    return crew.spent(server, "key") == COST


def past(crew: Crew, at: datetime, cost: int) -> bytes:
    event = RequestEvent(secrets.token_hex(16), at.timestamp(), "POST", "/v1/chat/completions", 200, "complete", 1.0)
    event.key, event.user, event.team, event.project = (
        int(crew.ids[kind]) for kind in ("key", "user", "team", "project")
    )
    event.cost_picousd, event.requests = cost, 1
    return sealed(encode(event))


def test_only_what_was_spent_in_the_period_counts(server: Sluice, upstream: Upstream):
    """Of a budget of three requests one was spent on the boundary itself; before it, far more than the budget."""
    now = datetime.now(UTC)
    zones = [zone for zone in ZONES if (following("day", zone) - now).total_seconds() > MIDNIGHT_AT_LEAST_S]
    cases = {(period, zone): began(period, zone) for period in PERIODS for zone in zones}
    crews: dict[tuple[str, str], Crew] = {}
    left: list[bytes] = []
    for (period, zone), start in cases.items():
        budget = {"budget": usd(3 * COST), "period": period, "time_zone": zone}
        crew = crews[period, zone] = new_crew(server, key=budget, project=budget)
        left += [past(crew, start - timedelta(microseconds=1), 50 * COST), past(crew, start, COST)]
        left += [past(crew, start - timedelta(days=40 * n), 70 * COST) for n in (1, 2, 30)]
    server.stop()
    (Path(server.env["DATA_DIR"]) / "journal" / "1-left-behind.spool").write_bytes(b"".join(left))
    server.launch()
    books = upstream.script = Books()
    for case, crew in crews.items():
        soon(partial(has_spent, server, crew))
        assert crew.spent(server, "project") == COST, case
        shown = datetime.fromisoformat(crew.shown(server, "key")["resets_at"])
        assert shown == following(*case), case
        assert [post(server, crew.token, **BOUNDED).status for _ in range(3)] == [200, 200, 429], case
    assert books.answered == 2 * len(crews)


def following(period: str, zone: str) -> datetime:
    """The next boundary."""
    first = datetime.now(ZoneInfo(zone)).date()
    if period == "day":
        first += timedelta(days=1)
    elif period == "week":
        first += timedelta(days=7 - first.weekday())
    else:
        first = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime.combine(first, time(), ZoneInfo(zone)).astimezone(UTC)


def test_a_changed_period_or_zone_counts_what_is_its_own(server: Sluice, upstream: Upstream):
    """The same past, seen by another period: nothing is kept of the one before."""
    upstream.script = Books()
    crew = new_crew(server, key={"budget": usd(2 * COST), "period": "total"})
    assert [post(server, crew.token, **BOUNDED).status for _ in range(3)] == [200, 200, 429]
    for change in ({"period": "day"}, {"period": "month"}, {"time_zone": "Asia/Kathmandu"}, {"period": "total"}):
        crew.limit(server, "key", **change)
        soon(lambda: crew.spent(server, "key") == 2 * COST)
        assert post(server, crew.token, **BOUNDED).status == 429, change
