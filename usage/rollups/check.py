"""Compare the sums with the ledger, and repair them.

Sums are updated in the ledger's transactions. So they differ only if rows were written in another way: by an older
version during an upgrade, by hand, or from a backup. One statement finds the differences, so it sees the ledger and the
sums as of one moment. They are repaired by adding what is missing, which does not conflict with writers.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import QuerySet

from usage.rollups.add import Place, move
from usage.rollups.from_ledger import DAY, Span, ends, ledger_rows, names, rows_of, span_of, tags_of
from usage.rollups.state import (
    KINDS,
    SUMS,
    DayKindRollup,
    DayModelRollup,
    DayRollup,
    HourKindRollup,
    HourModelRollup,
    HourRollup,
    Sums,
    TagSet,
)
from usage.rollups.tags import keep_tag_sets

log = logging.getLogger("sluice.rollups")

ADVISORY_LOCK = 5_713_002
"""The lock for repairs: two at once would add what is missing twice."""


SOURCES: dict[type[Sums], type[Sums]] = {
    DayRollup: HourRollup,
    HourModelRollup: HourRollup,
    DayModelRollup: HourModelRollup,
    HourKindRollup: HourRollup,
    DayKindRollup: HourKindRollup,
}
"""The table whose rows each table adds up. A table is compared with its source after the source was repaired."""
BY_DAY = (DayRollup, DayModelRollup, DayKindRollup)


class Difference(NamedTuple):
    """What the sums of a day lack. Only requests and cost are reported; all sums are repaired."""

    day: date
    rows: int
    requests: int
    cost_picousd: int


def check(since: date | None = None, *, repair: bool) -> list[Difference]:
    """Compare each day from `since` on if the ledger has all rows of it. Return and log the days that differed.

    Raises `DatabaseError`.
    """
    differences = [difference for day in whole_days(since) if (difference := check_day(day, repair=repair))]
    for difference in differences:
        log.warning(
            "Rollups of %s lacked %d requests and %d picodollars, in %d rows%s.",
            difference.day,
            difference.requests,
            difference.cost_picousd,
            difference.rows,
            "; mended" if repair else "",
        )
    return differences


def whole_days(since: date | None) -> list[date]:
    """Return the days of which the ledger has all rows, because retention has deleted none of them."""
    bounds = ends()
    if bounds is None:
        return []
    oldest, day = bounds[0], bounds[1].date()
    first = oldest.date()
    if HourRollup.objects.filter(at__lt=oldest.replace(minute=0, second=0, microsecond=0)).exists():
        first += DAY  # earlier rows were deleted, and maybe some of this day
    first = max(first, since or first)
    days: list[date] = []
    while day >= first:
        if rows_of(span_of(day)).exists():
            days.append(day)
        elif sums_of_day(DayRollup, day).exists():
            # All rows of this day were deleted, and maybe some of the next day. Older rows came late.
            return days[-2::-1]
        day -= DAY
    return days[::-1]


def sums_of_day(model: type[Sums], day: date) -> QuerySet[Any]:
    span = span_of(day)
    return model._default_manager.filter(at__gte=span.start, at__lt=span.end)


def check_day(day: date, *, repair: bool) -> Difference | None:
    """Compare the sums of a day. Return what they lack; None if nothing. Raises `DatabaseError`."""
    span = span_of(day)
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        lack, sets = lacking_hours(span)
        if repair:
            keep_tag_sets(sets)
            move(HourRollup, lack)
        for model, source in SOURCES.items():
            lacked = lacking(model, rows_from_source(source, model, span), span)
            if repair:
                move(model, lacked)
            lack = lack or lacked
        if repair:
            tables: list[type[Sums]] = [HourRollup, *SOURCES]
            for each in tables:
                sums_of_day(each, day).filter(requests=0).delete()
    if not lack and not sets:
        return None
    requests, cost = SUMS.index("requests"), SUMS.index("cost_picousd")
    return Difference(
        day,
        len(lack) + len(sets),
        sum(sums[requests] for sums in lack.values()),
        sum(sums[cost] for sums in lack.values()),
    )


def lacking_hours(span: Span) -> tuple[dict[Place, list[int]], dict[int, tuple[str, ...]]]:
    """Return what must be added to the sums by hour, and the sets of tags that are missing."""
    while True:
        tag_lists = tags_of(span)
        hours = lacking(HourRollup, ledger_rows(span, tag_lists), span)
        if all(place[-1] is not None for place in hours):
            break
        # A request with a new set of tags came between the two statements: read both again.
    there = set(TagSet.objects.filter(pk__in=tag_lists.sets).values_list("pk", flat=True))
    return hours, {number: tags for number, tags in tag_lists.sets.items() if tags and number not in there}


def lacking(model: type[Sums], source: tuple[str, list[Any]], span: Span) -> dict[Place, list[int]]:
    """Return what must be added to the rows of a day so that they match the source; empty if they do."""
    statement, values = source
    table, place = connection.ops.quote_name(model._meta.db_table), names(model.place)
    quoted = [connection.ops.quote_name(name) for name in SUMS]
    there = f"SELECT {place}, {', '.join(f'-{name}' for name in quoted)} FROM {table}"  # noqa: S608
    sums = [f"SUM({name})" for name in quoted]
    compared = (
        f"SELECT {place}, {', '.join(sums)} FROM ("  # noqa: S608 (no value in it)
        f"{statement} UNION ALL {there} WHERE at >= %s AND at < %s) AS both_sides "
        f"GROUP BY {place} HAVING {' OR '.join(f'{total} <> 0' for total in sums)}"
    )
    width = len(model.place)
    with connection.cursor() as cursor:
        cursor.execute(compared, [*values, *span.as_values])
        return {(_moment(row[0]), *row[1:width]): [int(number) for number in row[width:]] for row in cursor.fetchall()}


def rows_from_source(source: type[Sums], model: type[Sums], span: Span) -> tuple[str, list[Any]]:
    """Return a statement, and its values, for the source's rows of a span in the shape of the model's rows."""
    at = "at"
    if model in BY_DAY:
        on_postgres = connection.vendor == "postgresql"
        at = "date_trunc('day', at, 'UTC')" if on_postgres else "substr(at, 1, 10) || ' 00:00:00'"
    table = connection.ops.quote_name(source._meta.db_table)
    places = [names(model.place[1:])]
    if model is HourKindRollup:
        places = [f"'{kind}' AS kind, {column} AS ident" for kind, column in KINDS.items()]
    rows = [
        f"SELECT {at} AS at, {place}, {names(SUMS)} FROM {table} WHERE at >= %s AND at < %s"  # noqa: S608
        for place in places
    ]
    return " UNION ALL ".join(rows), span.as_values * len(rows)


def _moment(value: Any) -> datetime:
    """Convert a time from the database. SQLite returns text."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
