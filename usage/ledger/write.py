"""Write finished requests into the ledger, many in one statement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from django.apps import apps
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Greatest

from usage.event import RequestEvent
from usage.ledger.background import note_background
from usage.ledger.stored import record_stored_objects
from usage.ledger.totals import add_totals
from usage.records import JournalPosition, RequestRecord
from usage.rollups.add import add_rollups

# The columns have the order of RequestEvent's fields. So a row is the event as a tuple, except for its time and tags.
# Rows are written with plain SQL, because Django's ORM takes ten times as long for a row.
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
    "saved_tokens",
    "saved_picousd",
]
INCOMING = "incoming_requests"
"""A temporary table: each connection has its own."""

# Rows are locked by id first, which prevents deadlocks: an UPDATE alone locks them in the order of its query plan.
COUNT_USES = """
WITH used AS (SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[]) AS used (id, uses, at)),
     held AS (SELECT id FROM {table} WHERE id IN (SELECT id FROM used) ORDER BY id FOR NO KEY UPDATE)
UPDATE {table} AS moved SET total_requests = moved.total_requests + used.uses,
       last_used_at = GREATEST(moved.last_used_at, used.at)
FROM used JOIN held USING (id) WHERE moved.id = used.id
"""

AT, TAGS = COLUMNS.index("created_at"), COLUMNS.index("tags")


class Position(NamedTuple):
    """How far a segment of the journal was read, in bytes."""

    segment: str
    end: int


def write_events(events: Sequence[RequestEvent], position: Position | None = None) -> list[RequestEvent]:
    """Write events and the position in the journal in one transaction. Returns the events that were new.

    An event that is in the ledger already changes neither its row nor a total. Any number of processes may write at
    once, even the same events. Raises `DatabaseError`.
    """
    with transaction.atomic():
        new = insert(events)
        finish(new, position)
    return new


def insert(events: Sequence[RequestEvent]) -> list[RequestEvent]:
    """Write the events that the ledger does not have, and return them. An id that occurs twice is written once."""
    events = list({event.id: event for event in reversed(events)}.values())[::-1]
    if not events:
        return []
    return insert_copied(events) if connection.vendor == "postgresql" else insert_each(events)


def insert_copied(events: list[RequestEvent]) -> list[RequestEvent]:
    """Insert with COPY, for PostgreSQL: it takes a fifth of the time of single rows.

    COPY fails at an existing row, so it writes to a temporary table, from which new rows are inserted. All writers
    insert in the order of ids, which prevents deadlocks.
    """
    columns, table = columns_quoted(), connection.ops.quote_name(RequestRecord._meta.db_table)
    with connection.cursor() as cursor:
        # The table has only the columns of this version: one that a later version has added would have no default here.
        cursor.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {INCOMING} ON COMMIT DELETE ROWS "  # noqa: S608 (no value in it)
            f"AS SELECT {columns} FROM {table} WITH NO DATA"
        )
        with connection.wrap_database_errors, cursor.copy(f"COPY {INCOMING} ({columns}) FROM STDIN") as copy:
            for event in events:
                copy.write_row(row(event, native_times=True))
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {INCOMING} ORDER BY id "  # noqa: S608
            "ON CONFLICT (id) DO NOTHING RETURNING id"
        )
        written = {request_id for (request_id,) in cursor.fetchall()}
    return [event for event in events if event.id in written]


def insert_each(events: list[RequestEvent]) -> list[RequestEvent]:
    """Insert rows, for SQLite. It has one writer at a time, so no row is added between the two tries."""
    columns, table = columns_quoted(), connection.ops.quote_name(RequestRecord._meta.db_table)
    values = ", ".join(["%s"] * len(COLUMNS))
    statement = f"INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT (id) DO NOTHING"  # noqa: S608

    def insert_all(some: list[RequestEvent]) -> bool:
        with connection.cursor() as cursor:
            cursor.executemany(statement, [row(event, native_times=False) for event in some])
            return bool(cursor.rowcount == len(some))

    with transaction.atomic():
        if insert_all(events):
            return events
        transaction.set_rollback(True)
    existing = set(RequestRecord.objects.filter(pk__in=[event.id for event in events]).values_list("pk", flat=True))
    new = [event for event in events if event.id not in existing]
    if new:
        insert_all(new)
    return new


def finish(events: Sequence[RequestEvent], position: Position | None) -> None:
    """Write all that follows from new rows, in their transaction: totals, sums, and the position in the journal."""
    count_uses(events)
    add_totals(events)
    add_rollups(events)
    record_stored_objects(events)
    note_background(events)
    if position is not None:
        reached = JournalPosition(segment=position.segment, end=position.end)
        JournalPosition.objects.bulk_create(
            [reached], update_conflicts=True, unique_fields=["segment"], update_fields=["end"]
        )


def read_position(segment: str) -> int:
    """Return the offset at which to continue reading a segment. Raises `DatabaseError`."""
    return JournalPosition.objects.filter(pk=segment).values_list("end", flat=True).first() or 0


def forget_position(segment: str) -> None:
    JournalPosition.objects.filter(pk=segment).delete()


@lru_cache(maxsize=1)
def columns_quoted() -> str:
    return ", ".join(connection.ops.quote_name(column) for column in COLUMNS)


def row(event: RequestEvent, native_times: bool) -> list[Any]:
    values = list(msgspec.structs.astuple(event)[: len(COLUMNS)])
    at = datetime.fromtimestamp(event.at, UTC)
    values[AT] = at if native_times else at.replace(tzinfo=None).isoformat(" ", "microseconds")
    values[TAGS] = msgspec.json.encode(event.tags).decode() if event.tags else "[]"
    return values


def count_uses(events: Sequence[RequestEvent]) -> None:
    """Update `total_requests` and `last_used_at` of the keys.

    The change feed is not told, because no process keeps these numbers in its snapshot.
    """
    uses: Counter[int] = Counter()
    latest: dict[int, float] = {}
    for event in events:
        if event.key is not None and event.outcome != "refused" and not event.settles:
            uses[event.key] += 1
            latest[event.key] = max(event.at, latest.get(event.key, event.at))
    if not uses:
        return
    virtual_key = apps.get_model("keys", "VirtualKey")
    # All writers use the order of ids, which prevents deadlocks.
    used = [(key, uses[key], datetime.fromtimestamp(latest[key], UTC)) for key in sorted(uses)]
    if connection.vendor == "postgresql":
        table = connection.ops.quote_name(virtual_key._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(COUNT_USES.format(table=table), list(map(list, zip(*used, strict=True))))
        return
    for key, count, at in used:
        # An older event that comes late, from a host that was away, must not set it back.
        last_used = Greatest(Coalesce(F("last_used_at"), at), at)
        virtual_key.objects.filter(pk=key).update(total_requests=F("total_requests") + count, last_used_at=last_used)
