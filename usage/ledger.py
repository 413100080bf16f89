"""Write finished requests into the ledger, many in one statement."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from django.apps import apps
from django.db import connection, transaction
from django.db.models import F

from usage.event import RequestEvent
from usage.models import RequestRecord

# In the order of `row`. Plain SQL: Django's ORM takes ten times as long for a row, in the process that relays.
COLUMNS = (
    "id created_at key_id project_id user_id method endpoint provider credential model model_served stream status_code "
    "outcome error cache attempts prompt_tokens completion_tokens cached_tokens reasoning_tokens audio_tokens "
    "usage_source cost_usd ttft_ms duration_ms upstream_ms request_bytes response_bytes ip correlation_id response_id tags"
).split()


def write_events(events: Sequence[RequestEvent]) -> None:
    """One transaction for all of them. Writing an event again changes nothing. Raises `DatabaseError`."""
    statement = insert_statement()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.executemany(statement, [row(event) for event in events])
        count_uses(events)


@lru_cache(maxsize=1)
def insert_statement() -> str:
    quote = connection.ops.quote_name
    columns = ", ".join(quote(column) for column in COLUMNS)
    values = ", ".join(["%s"] * len(COLUMNS))
    table = quote(RequestRecord._meta.db_table)
    return f"INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 (names of columns)


def row(event: RequestEvent) -> tuple[Any, ...]:
    at = datetime.fromtimestamp(event.at, UTC)
    return (
        event.id,
        at if connection.vendor == "postgresql" else at.replace(tzinfo=None).isoformat(" "),
        event.key_id,
        event.project_id,
        event.user_id,
        event.method[:16],
        clean(event.path, 200),
        event.provider,
        event.credential,
        clean(event.model, 200),
        clean(event.model_served, 200),
        event.stream,
        event.status,
        event.outcome,
        clean(event.error, 64),
        event.cache,
        event.attempts,
        event.prompt_tokens,
        event.completion_tokens,
        event.cached_tokens,
        event.reasoning_tokens,
        event.audio_tokens,
        event.usage_source,
        None,
        event.ttft_ms,
        event.duration_ms,
        event.upstream_ms,
        event.request_bytes,
        event.response_bytes,
        address(event.ip),
        clean(event.correlation_id, 128),
        clean(event.response_id, 128),
        msgspec.json.encode(event.tags).decode() if event.tags else "[]",
    )


def clean(text: str, most: int) -> str:
    """Text that every database takes: PostgreSQL refuses the character NUL."""
    return text.replace("\0", "")[:most]


@lru_cache(maxsize=4096)
def address(ip: str | None) -> str | None:
    try:
        return str(ipaddress.ip_address(ip)) if ip else None
    except ValueError:
        return None


def count_uses(events: Sequence[RequestEvent]) -> None:
    """Move `total_requests` and `last_used_at` of the keys. No change note: nobody serves from these numbers."""
    uses: Counter[int] = Counter()
    latest: dict[int, float] = {}
    for event in events:
        if event.key_id is not None and event.outcome != "refused":
            uses[event.key_id] += 1
            latest[event.key_id] = event.at
    virtual_key = apps.get_model("keys", "VirtualKey")
    # In order of ids, so that two processes that do this at once never wait for each other in a circle.
    for key_id in sorted(uses):
        virtual_key.objects.filter(pk=key_id).update(
            total_requests=F("total_requests") + uses[key_id],
            last_used_at=datetime.fromtimestamp(latest[key_id], UTC),
        )
