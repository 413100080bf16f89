"""X21: what a scope has spent counts on beyond what 64 bits hold in picodollars, to the last of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.spending import usage_of_key
from tests.kit.events import NOW, event
from usage.ledger.totals import EVER, SLOT_S, TotalQuery, read_totals, spent_since
from usage.ledger.write import write_events
from usage.models import ScopeTotal
from usage.prices.price import MOST_PICOUSD

pytestmark = pytest.mark.django_db(transaction=True)

COST = 4_000_000 * 10**12 + 1
DAYS = 8


def test_a_lifetime_sum_has_no_end() -> None:
    for day in range(DAYS):
        for _ in range(2):
            write_events([event(NOW + timedelta(days=day), key=7, cost_picousd=COST)])
    spent = 2 * DAYS * COST
    assert spent > 6 * MOST_PICOUSD
    assert spent_since("key", ["7"], 0) == {"7": spent}
    assert spent_since("key", ["7"], int(NOW.timestamp()) // SLOT_S * SLOT_S) == {"7": spent}
    since = int((NOW + timedelta(days=DAYS - 1)).timestamp()) // SLOT_S * SLOT_S
    ever, today = read_totals([TotalQuery("key", "7", 0, since), TotalQuery("global", "1", since, since)])
    assert (ever.spent_picousd, ever.requests, ever.requests_since_day) == (spent, 2 * DAYS, 2)
    assert today.spent_picousd == 2 * COST
    (used,) = usage_of_key(7, NOW - timedelta(days=1))
    assert (used.requests, used.cost_picousd) == (2 * DAYS, spent)


def test_a_batch_may_be_worth_more_than_a_column_holds() -> None:
    write_events([event(key=number, cost_picousd=COST) for number in range(2)])
    assert spent_since("global", ["1"], 0) == {"1": 2 * COST}


def test_a_sum_of_before_goes_on() -> None:
    """It stands whole in the one column that there was, and a version of before may add to that one again."""
    ScopeTotal.objects.create(kind="global", ident="1", slot=EVER, requests=1, cost_picousd=MOST_PICOUSD)
    write_events([event(cost_picousd=COST)])
    assert spent_since("global", ["1"], 0) == {"1": MOST_PICOUSD + COST}
    total = ScopeTotal.objects.get(kind="global", slot=EVER)
    assert 0 <= total.cost_picousd < 2 * 10**18
