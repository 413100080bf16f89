"""Write finished requests into the ledger, many in one statement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from django.apps import apps
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Greatest

from usage.event import RequestEvent
from usage.models import JournalPosition, RequestRecord
from usage.totals import add_totals

# In the order of RequestEvent's fields, so that a row is the event as a tuple but for its time and tags. Plain SQL:
# Django's ORM takes ten times as long for a row, in the process that relays.
COLUMNS = [
    "id",
    "created_at",
    "method",
    "endpoint",
    "status_code",
    "outcome",
    "duration_ms",
    "key_id",
    "project_id",
    "user_id",
    "team_id",
    "provider",
    "credential",
    "model",
    "model_served",
    "stream",
    "error",
    "cache",
    "attempts",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cache_write_tokens",
    "audio_tokens",
    "usage_source",
    "cost_picousd",
    "price_source",
    "ttft_ms",
    "upstream_ms",
    "request_bytes",
    "response_bytes",
    "ip",
    "correlation_id",
    "response_id",
    "tags",
]
AT, TAGS = COLUMNS.index("created_at"), COLUMNS.index("tags")


MOST_RACES = 20


class Position(NamedTuple):
    """How far a segment of the journal has been read, in bytes."""

    segment: str
    end: int


def write_events(events: Sequence[RequestEvent], position: Position | None = None) -> list[RequestEvent]:
    """Write events, and where the journal was read up to, in one transaction. Returns those that were new.

    An event that is in the ledger already changes nothing there, and moves no total a second time. Any number of
    processes may write at once, the same events too. Raises `DatabaseError`.
    """
    # All writers go in one order, rows, keys and totals alike, so that none waits for another in a circle.
    new = sorted(events, key=attrgetter("id"))
    for _ in range(MOST_RACES):
        with transaction.atomic():
            if insert(new) == len(new):
                finish(new, position)
                return new
            transaction.set_rollback(True)
        # Asked anew each time, for another process may have written some of them meanwhile.
        new = unwritten(new)
    raise OperationalError("Other writers were faster with some of the rows each time.")


def insert(events: Sequence[RequestEvent]) -> int:
    """Returns how many of them were new."""
    if not events:
        return 0
    native_times = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        cursor.executemany(insert_statement(), [row(event, native_times) for event in events])
        return int(cursor.rowcount)


def finish(events: Sequence[RequestEvent], position: Position | None) -> None:
    count_uses(events)
    add_totals(events)
    if position is not None:
        JournalPosition.objects.update_or_create(segment=position.segment, defaults={"end": position.end})


def unwritten(events: Sequence[RequestEvent]) -> list[RequestEvent]:
    """Those of them that the ledger does not have, each once: what was copied by hand counts once."""
    ids = {event.id: event for event in reversed(events)}
    known = set(RequestRecord.objects.filter(pk__in=list(ids)).values_list("pk", flat=True))
    return [event for event in events if event.id not in known and ids[event.id] is event]


def read_position(segment: str) -> int:
    """Where to go on reading. Raises `DatabaseError`."""
    return JournalPosition.objects.filter(pk=segment).values_list("end", flat=True).first() or 0


def forget_position(segment: str) -> None:
    JournalPosition.objects.filter(pk=segment).delete()


@lru_cache(maxsize=1)
def insert_statement() -> str:
    quote = connection.ops.quote_name
    columns = ", ".join(quote(column) for column in COLUMNS)
    values = ", ".join(["%s"] * len(COLUMNS))
    table = quote(RequestRecord._meta.db_table)
    return f"INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 (no value in it)


def row(event: RequestEvent, native_times: bool) -> list[Any]:
    values = list(msgspec.structs.astuple(event)[: len(COLUMNS)])
    at = datetime.fromtimestamp(event.at, UTC)
    values[AT] = at if native_times else at.replace(tzinfo=None).isoformat(" ", "microseconds")
    values[TAGS] = msgspec.json.encode(event.tags).decode() if event.tags else "[]"
    return values


def count_uses(events: Sequence[RequestEvent]) -> None:
    """Move `total_requests` and `last_used_at` of the keys. No change note: nobody serves from these numbers."""
    uses: Counter[int] = Counter()
    latest: dict[int, float] = {}
    for event in events:
        if event.key is not None and event.outcome != "refused":
            uses[event.key] += 1
            latest[event.key] = max(event.at, latest.get(event.key, event.at))
    virtual_key = apps.get_model("keys", "VirtualKey")
    # In order of ids, so that two processes that do this at once never wait for each other in a circle.
    for key_id in sorted(uses):
        used_at = datetime.fromtimestamp(latest[key_id], UTC)
        virtual_key.objects.filter(pk=key_id).update(
            total_requests=F("total_requests") + uses[key_id],
            # What comes late, from a host that was away, does not set it back.
            last_used_at=Greatest(Coalesce(F("last_used_at"), used_at), used_at),
        )
