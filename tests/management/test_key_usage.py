"""`GET /api/keys/{id}/usage`: what a key used, to the second, from the sums and the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.spending import usage_of_key
from keys.ports import ModelUsage
from tests.kit.rows import make_key
from usage.event import RequestEvent
from usage.ledger.write import write_events
from usage.models import RequestRecord

pytestmark = pytest.mark.django_db
SINCE = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


def write(moment, model="m", **fields):
    given: dict[str, Any] = {"method": "POST", "path": "/v1/chat/completions", "status": 200, "duration_ms": 1.0}
    given |= {"outcome": "complete", "key": 1, "prompt_tokens": 7, "completion_tokens": 3, "cost_picousd": 5, **fields}
    number = RequestRecord.objects.count()
    pk = f"req_{int(moment.timestamp() * 1000):012x}aaaaaaaaaa{number:08x}"
    write_events([RequestEvent(id=pk, at=moment.timestamp(), model=model, requests=1, **given)])


@pytest.mark.parametrize("at", [SINCE, SINCE.replace(minute=0), SINCE.replace(hour=0, minute=0)])
def test_it_begins_when_it_is_asked_to_and_leaves_nothing_out(at):
    for minutes in (-1441, -61, -1, 0, 1, 29, 30, 59, 60, 61, 689, 690, 691, 3000, 90_000):
        write(at + timedelta(minutes=minutes))
    assert usage_of_key(1, at) == [ModelUsage("m", 12, 84, 36, 60, 0)]


def test_refusals_and_other_keys_are_not_in_it():
    for minutes in (1, 100, 2000):
        moment = SINCE + timedelta(minutes=minutes)
        write(moment, "often", cost_picousd=None)
        write(moment, "often")
        write(moment, "seldom")
        write(moment, "never", outcome="refused", prompt_tokens=None, completion_tokens=None, cost_picousd=0)
        write(moment, "often", key=2)
    assert usage_of_key(1, SINCE) == [ModelUsage("often", 6, 42, 18, 15, 3), ModelUsage("seldom", 3, 21, 9, 15, 0)]
    assert usage_of_key(3, SINCE) == []


def test_the_api_tells_it(api):
    key = make_key()
    write(datetime.now(UTC) - timedelta(hours=3), key=key.pk)
    write(datetime.now(UTC) - timedelta(days=3), key=key.pk)
    told = api.get(f"/api/keys/{key.pk}/usage", {"days": 30}).json()
    assert told["totals"]["requests"] == 2
    assert told["by_model"][0]["total_tokens"] == 20
    assert told["average_tokens_per_request"] == 10
    assert api.get(f"/api/keys/{key.pk}/usage", {"days": 1}).json()["totals"]["requests"] == 1
