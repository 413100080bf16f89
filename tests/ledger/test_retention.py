"""REQUEST_RETENTION_DAYS: old rows go, newer ones and all totals stay."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.kit.events import NOW, event, ids, written_ids
from usage.ledger import retention
from usage.ledger.partitions import WEEK, make, make_ahead, partition_of, partitions, week_of
from usage.ledger.retention import prune_requests
from usage.ledger.write import write_events
from usage.models import ScopeTotal

pytestmark = pytest.mark.django_db(transaction=True)
MS = timedelta(milliseconds=1)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _days(settings):
    settings.REQUEST_RETENTION_DAYS = 30


def totals() -> list[tuple[object, ...]]:
    return sorted(ScopeTotal.objects.values_list("kind", "ident", "slot", "requests", "cost_picousd"))


def test_zero_keeps_all(settings):
    settings.REQUEST_RETENTION_DAYS = 0
    write_events([event(NOW - timedelta(days=3000))])
    assert prune_requests(NOW) == ([], 0)
    assert len(written_ids()) == 1


def test_what_is_in_no_partition_goes_to_the_millisecond(monkeypatch):
    """All of SQLite, and PostgreSQL's default partition."""
    monkeypatch.setattr(retention, "BATCH", 2)
    cutoff = NOW - 30 * DAY
    kept = [event(cutoff), event(cutoff + MS), event(cutoff, id="foreign-1")]
    old = [event(cutoff - MS), *(event(cutoff - number * DAY) for number in range(1, 6))]
    write_events([*kept, *old, event(cutoff - DAY, id="foreign-2"), event(cutoff - DAY, id="zz")])
    before = totals()
    assert prune_requests(NOW) == ([], len(old) + 2)
    assert written_ids() == ids(kept)
    assert totals() == before
    assert prune_requests(NOW) == ([], 0)


def test_weeks_go_whole_once_all_of_them_is_older(weekly):
    week = week_of(NOW - 30 * DAY)
    made = [partition_of(week + number * WEEK) for number in (-2, -1, 0, 1)]
    for partition in made:
        make(partition)
    kept = [event(week), event(week + 2 * WEEK - MS)]
    old = [event(week - MS), event(week - 2 * WEEK)]
    write_events([*kept, *old])
    before = totals()
    assert prune_requests(week + 30 * DAY - MS).partitions == [made[0].name]
    assert prune_requests(week + 30 * DAY).partitions == [made[1].name]
    assert prune_requests(NOW) == ([], 0)
    assert written_ids() == ids(kept)
    assert partitions() == made[2:]
    assert totals() == before


def test_a_row_that_comes_after_its_week_was_dropped_goes_with_the_next_pruning(weekly):
    make_ahead(NOW)
    write_events([late := event(NOW - 50 * DAY)])
    assert written_ids() == [late.id]
    assert prune_requests(NOW) == ([], 1)
    assert written_ids() == []


def test_days_may_be_told(settings):
    settings.REQUEST_RETENTION_DAYS = 0
    write_events([old := event(NOW - 60 * DAY), new := event(NOW)])
    assert prune_requests(NOW, days=50) == ([], 1)
    assert written_ids() == [new.id]
    assert old.id not in written_ids()
