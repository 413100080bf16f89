"""Compare the sums with the ledger, and mend them.

They move in the ledger's own transactions, so a difference means that rows were written past it: by an older version
while it was being replaced, by hand, from a backup. One statement finds the differences, so it sees the ledger and the
sums as of one moment; they are mended by adding what is missing, which no writer is in the way of.
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
"""One mends at a time: two would add what is missing twice."""


SOURCES: dict[type[Sums], type[Sums]] = {
    DayRollup: HourRollup,
    HourModelRollup: HourRollup,
    DayModelRollup: HourModelRollup,
    HourKindRollup: HourRollup,
    DayKindRollup: HourKindRollup,
}
"""Each is compared with what it adds up, once that is right."""
BY_DAY = (DayRollup, DayModelRollup, DayKindRollup)


class Difference(NamedTuple):
    """What a day's sums lack. Requests and picodollars are told; all sums are mended."""

    day: date
    rows: int
    requests: int
    cost_picousd: int


def check(since: date | None = None, *, repair: bool) -> list[Difference]:
    """Compare each day from `since` on that the ledger holds wholly. Returns, and logs, those that differed.

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
    """The days of which the ledger has all rows: not those of which retention has deleted any."""
    bounds = ends()
    if bounds is None:
        return []
    oldest, day = bounds[0], bounds[1].date()
    first = oldest.date()
    if HourRollup.objects.filter(at__lt=oldest.replace(minute=0, second=0, microsecond=0)).exists():
        first += DAY  # what came before is gone, and so may be some of this day
    first = max(first, since or first)
    days: list[date] = []
    while day >= first:
        if rows_of(span_of(day)).exists():
            days.append(day)
        elif sums_of_day(DayRollup, day).exists():
            # Taken whole, and the day after it maybe in part; what is older came late.
            return days[-2::-1]
        day -= DAY
    return days[::-1]


def sums_of_day(model: type[Sums], day: date) -> QuerySet[Any]:
    span = span_of(day)
    return model._default_manager.filter(at__gte=span.start, at__lt=span.end)


def check_day(day: date, *, repair: bool) -> Difference | None:
    """Raises `DatabaseError`."""
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
    """What must be added to the hours, and the sets of tags that are missing."""
    while True:
        tag_lists = tags_of(span)
        hours = lacking(HourRollup, ledger_rows(span, tag_lists), span)
        if all(place[-1] is not None for place in hours):
            break
        # Tags that nobody had before came with a request between the two statements.
    there = set(TagSet.objects.filter(pk__in=tag_lists.sets).values_list("pk", flat=True))
    return hours, {number: tags for number, tags in tag_lists.sets.items() if tags and number not in there}


def lacking(model: type[Sums], source: tuple[str, list[Any]], span: Span) -> dict[Place, list[int]]:
    """What must be added to the rows of a day, for them to be what the source says. None where they are."""
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
    """The source's rows of a span as rows of what is made from them."""
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
    """SQLite has texts."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
