"""The batch writer with a real database: a row it refuses harms no other, and nothing is lost while it is away."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from usage import writer as writer_module
from usage.event import RequestEvent
from usage.ledger import write_events
from usage.metrics import RequestMetrics
from usage.models import RequestRecord
from usage.writer import BatchWriter

pytestmark = pytest.mark.django_db(transaction=True)


def event(number: int, **changes: Any) -> RequestEvent:
    fields: dict[str, Any] = {
        "id": f"req_{number}", "at": 1_790_000_000.0, "method": "POST", "path": "/v1/chat/completions", "status": 200,
        "outcome": "complete", "duration_ms": 1.0,
    }  # fmt: skip
    return RequestEvent(**{**fields, **changes})


def written() -> list[str]:
    return sorted(RequestRecord.objects.values_list("pk", flat=True))


def write(*events: RequestEvent) -> None:
    writer = BatchWriter(RequestMetrics())
    for one in events:
        writer.add(one)
    writer.start()
    writer.stop()


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_row_that_the_database_refuses_holds_up_no_other(bad: int):
    write(*(event(number, status=None if number == bad else 200) for number in range(3)))
    assert written() == [f"req_{number}" for number in range(3) if number != bad]


def test_a_database_that_goes_away_in_mid_batch_loses_no_row(monkeypatch: pytest.MonkeyPatch):
    """The refused row makes the writer go row by row; on the third of them the database is away for a moment."""
    calls = iter([False, False, False, True])

    def unsteady(events: list[RequestEvent]) -> None:
        if next(calls, False):
            raise OperationalError("gone")
        write_events(events)

    monkeypatch.setattr(writer_module, "write_events", unsteady)
    write(event(0), event(1, status=None), event(2), event(3))
    assert written() == ["req_0", "req_2", "req_3"]
