"""The ledger's rows as rows of sums: what `add.py` says of events, in SQL."""

from __future__ import annotations

import json
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
"""A row's id may say another time than the row, by so much: the span of ids only says where to look for rows."""

OTHERS = Q(pk__lt=PREFIX) | Q(pk__gte=AFTER_ALL)
"""Rows whose ids say no time."""


class Span(NamedTuple):
    """Moments from `start` up to, but not including, `end`."""

    start: datetime
    end: datetime

    @property
    def as_values(self) -> list[Any]:
        """For a statement, as columns of this database have them."""
        return [connection.ops.adapt_datetimefield_value(moment) for moment in self]


def span_of(day: date) -> Span:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Span(start, start + DAY)


def rows_of(span: Span) -> QuerySet[RequestRecord]:
    """Found by their ids where these say a time, since `created_at` has no index."""
    ids = Q(pk__gte=id_at(span.start, -SLACK_MS), pk__lt=id_at(span.end, SLACK_MS))
    return RequestRecord.objects.filter(ids | OTHERS, created_at__gte=span.start, created_at__lt=span.end)


def ends() -> tuple[datetime, datetime] | None:
    """When the oldest and the newest row were made, to the moment in which ids and rows may differ."""
    own_rows = RequestRecord.objects.filter(pk__gte=PREFIX, pk__lt=AFTER_ALL).values_list("created_at", flat=True)
    others = RequestRecord.objects.filter(OTHERS).aggregate(oldest=Min("created_at"), newest=Max("created_at"))
    ends_found = [own_rows.order_by("pk").first(), own_rows.order_by("-pk").first(), *others.values()]
    moments = [moment.astimezone(UTC) for moment in ends_found if moment is not None]
    return (min(moments), max(moments)) if moments else None


class TagLists(NamedTuple):
    """Lists of tags as the ledger's rows have them, text for text, and the number of the set that each one is."""

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
    """Of the rows of a span, or of all."""
    table = connection.ops.quote_name(RequestRecord._meta.db_table)
    condition, values = where(span)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT CAST(tags AS text) FROM {table} WHERE {condition}", values)  # noqa: S608
        return TagLists({text: tags_id(tags_from(text)) for (text,) in cursor.fetchall()})


def where(span: Span | None) -> tuple[str, list[Any]]:
    """A condition, and its values. See `rows_of`."""
    if span is None:
        return "true", []
    ids = [id_at(span.start, -SLACK_MS), id_at(span.end, SLACK_MS), PREFIX, AFTER_ALL]
    condition = "(id >= %s AND id < %s OR id < %s OR id >= %s) AND created_at >= %s AND created_at < %s"
    return condition, [*ids, *span.as_values]


def ledger_rows(span: Span | None, tag_lists: TagLists) -> tuple[str, list[Any]]:
    """A statement for the ledger's rows of a span, or all, as rows of sums, and its values.

    `tags_id` is null where a row has tags that are not known.
    """
    if connection.vendor == "postgresql":
        hour = "date_trunc('hour', created_at, 'UTC')"
        microseconds = "CAST(round({} * 1000) AS bigint)"
        source = "unnest(%s::text[], %s::bigint[]) AS known (said, number) ON known.said::jsonb = tags"
    else:
        hour = "substr(created_at, 1, 13) || ':00:00'"  # its functions for dates round to milliseconds
        microseconds = "CAST(round({} * 1000) AS integer)"
        pairs = "SELECT json_extract(value, '$[0]') AS said, json_extract(value, '$[1]') AS number FROM json_each(%s)"
        source = f"({pairs}) AS known ON known.said = tags"
    numbers = [f"COALESCE({name}, 0) AS {name}" for name in ("project_id", "key_id", "user_id", "team_id")]
    names = [name for name in SUMS if name.endswith("_tokens") or name == "cost_picousd"]
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
    sums = ", ".join(f"{expressions[name]} AS {name}" for name in SUMS)
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
