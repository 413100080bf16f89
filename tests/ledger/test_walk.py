"""A walk through the ledger that one of its steps holds up."""

from __future__ import annotations

from datetime import timedelta

from tests.kit.events import NOW, event, request_id_at
from usage.ledger.walk import WalkResult, walk
from usage.ledger.write import write_events
from usage.models import RequestRecord

HOUR = timedelta(hours=1)


def test_a_later_step_that_takes_too_long_keeps_what_was_found(weekly):
    write_events([new := event(NOW), old := event(NOW - 30 * HOUR)])
    slow_old = "CASE WHEN id < %s THEN pg_sleep(30) IS NOT NULL ELSE true END"
    records = RequestRecord.objects.extra(where=[slow_old], params=[request_id_at(NOW - 29 * HOUR)])
    found: WalkResult = walk(records, 10)
    assert [row.pk for row in found.rows] == [new.id]
    assert found.edge is not None
    assert old.id < found.edge < new.id
