"""Events like those in the journal, with ids like those that `proxy` makes, and what was written of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

from django.db import connection

from usage.event import RequestEvent
from usage.models import RequestRecord

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
"""A Friday. Its week began on the 16th."""

_serial = count(1)


def request_id_at(at: datetime) -> str:
    return f"req_{int(at.timestamp() * 1000):012x}aaaaaaaaaa{next(_serial):08x}"


def event(at: datetime = NOW, **changes: Any) -> RequestEvent:
    fields: dict[str, Any] = {
        "id": request_id_at(at), "at": at.timestamp(), "method": "POST", "path": "/v1/chat/completions", "status": 200,
        "outcome": "complete", "duration_ms": 1.0, "requests": 1, "cost_picousd": 1_000,
    }  # fmt: skip
    return RequestEvent(**{**fields, **changes})


def ids(events: Sequence[RequestEvent]) -> list[str]:
    return sorted(event.id for event in events)


def written_ids() -> list[str]:
    return sorted(RequestRecord.objects.values_list("pk", flat=True))


def places() -> dict[str, str]:
    """The partition of each row, by its id. Only PostgreSQL has partitions."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, tableoid::regclass::text FROM usage_requestrecord")
        return dict(cursor.fetchall())
