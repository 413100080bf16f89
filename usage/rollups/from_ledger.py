"""SQL that turns the ledger's rows into rows of sums. It must give the same as `sums_of` in `add.py` for events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Max, Min, Q, QuerySet

from usage.ids import AFTER_ALL, PREFIX, id_at
from usage.records import RequestRecord
from usage.rollups.add import ERRORS, HITS
from usage.rollups.state import PLACE, SUMS
from usage.rollups.tags import tags_from, tags_id

DAY = timedelta(days=1)
SLACK_MS = 3_600_000
"""How far the time in a row's id may be from the row's own time. A range of ids only says where to look for rows."""

OTHERS = Q(pk__lt=PREFIX) | Q(pk__gte=AFTER_ALL)
"""Rows whose ids contain no time."""


class Span(NamedTuple):
    """The time from `start` up to, but not including, `end`."""

    start: datetime
    end: datetime

    @property
    def as_values(self) -> list[Any]:
        """Both times as values for a statement on this database."""
        return [connection.ops.adapt_datetimefield_value(moment) for moment in self]


def span_of(day: date) -> Span:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Span(start, start + DAY)


def rows_of(span: Span) -> QuerySet[RequestRecord]:
    """Return the rows of a span. They are found by id if it contains a time, because `created_at` has no index."""
    ids = Q(pk__gte=id_at(span.start, -SLACK_MS), pk__lt=id_at(span.end, SLACK_MS))
    return RequestRecord.objects.filter(ids | OTHERS, created_at__gte=span.start, created_at__lt=span.end)


def ends() -> tuple[datetime, datetime] | None:
    """Return the times of the oldest and the newest row by id, which may differ a little from those by time."""
    own_rows = RequestRecord.objects.filter(pk__gte=PREFIX, pk__lt=AFTER_ALL).values_list("created_at", flat=True)
    others = RequestRecord.objects.filter(OTHERS).aggregate(oldest=Min("created_at"), newest=Max("created_at"))
    ends_found = [own_rows.order_by("pk").first(), own_rows.order_by("-pk").first(), *others.values()]
    moments = [moment.astimezone(UTC) for moment in ends_found if moment is not None]
    return (min(moments), max(moments)) if moments else None


class TagLists(NamedTuple):
    """The lists of tags in the ledger's rows, as they are written there, and the id of the set that each one is."""

    ids: dict[str, int]

    @property
    def sets(self) -> dict[int, tuple[str, ...]]:
        return {number: tags_from(text) for text, number in self.ids.items()}

    @property
    def as_values(self) -> list[Any]:
        if connection.vendor == "postgresql":
            return [list(self.ids), list(self.ids.values())]
        return [json.dumps(list(self.ids.items()))]


def tags_of(span: Span | None = None) -> TagLists:
    """Return the lists of tags in the rows of a span, or in all rows."""
    table = connection.ops.quote_name(RequestRecord._meta.db_table)
    condition, values = where(span)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT CAST(tags AS text) FROM {table} WHERE {condition}", values)  # noqa: S608
        return TagLists({text: tags_id(tags_from(text)) for (text,) in cursor.fetchall()})


def where(span: Span | None) -> tuple[str, list[Any]]:
    """Return the condition of `rows_of` in SQL, and its values."""
    if span is None:
        return "true", []
    ids = [id_at(span.start, -SLACK_MS), id_at(span.end, SLACK_MS), PREFIX, AFTER_ALL]
    condition = "(id >= %s AND id < %s OR id < %s OR id >= %s) AND created_at >= %s AND created_at < %s"
    return condition, [*ids, *span.as_values]


def ledger_rows(span: Span | None, tag_lists: TagLists, wanted: Sequence[str] = SUMS) -> tuple[str, list[Any]]:
    """Return a statement, and its values, for the ledger's rows of a span, or all, as rows of sums: those that are
    wanted. A migration wants those that there are in its version.

    `tags_id` is null if a row's tags are not in `tag_lists`.
    """
    if connection.vendor == "postgresql":
        hour = "date_trunc('hour', created_at, 'UTC')"
        microseconds = "CAST(round({} * 1000) AS bigint)"
        source = "unnest(%s::text[], %s::bigint[]) AS known (said, number) ON known.said::jsonb = tags"
    else:
        hour = "substr(created_at, 1, 13) || ':00:00'"  # SQLite's date functions round to milliseconds
        microseconds = "CAST(round({} * 1000) AS integer)"
        pairs = "SELECT json_extract(value, '$[0]') AS said, json_extract(value, '$[1]') AS number FROM json_each(%s)"
        source = f"({pairs}) AS known ON known.said = tags"
    numbers = [f"COALESCE({name}, 0) AS {name}" for name in ("project_id", "key_id", "user_id", "team_id")]
    names = [name for name in wanted if name.endswith(("_tokens", "_picousd"))]
    expressions = {
        **{name: f"COALESCE({name}, 0)" for name in names},
        "requests": "1",
        "errors": _counted(f"outcome IN ({_literals(ERRORS)})"),
        "refused": _counted("outcome = 'refused'"),
        "cache_hits": _counted(f"cache IN ({_literals(HITS)})"),
        "unpriced": _counted("cost_picousd IS NULL"),
        "duration_us": microseconds.format("duration_ms"),
        "ttft_us": f"COALESCE({microseconds.format('ttft_ms')}, 0)",
        "ttft_requests": _counted("ttft_ms IS NOT NULL"),
    }
    sums = ", ".join(f"{expressions[name]} AS {name}" for name in wanted)
    table = connection.ops.quote_name(RequestRecord._meta.db_table)
    condition, values = where(span)
    statement = (
        f"SELECT {hour} AS at, {', '.join(numbers)}, provider, model, number AS tags_id, {sums} "  # noqa: S608
        f"FROM {table} LEFT JOIN {source} WHERE {condition}"
    )
    return statement, [*tag_lists.as_values, *values]


def names(columns: tuple[str, ...] = (*PLACE, *SUMS)) -> str:
    return ", ".join(connection.ops.quote_name(column) for column in columns)


def _counted(condition: str) -> str:
    return f"CASE WHEN {condition} THEN 1 ELSE 0 END"


def _literals(values: frozenset[str]) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))
