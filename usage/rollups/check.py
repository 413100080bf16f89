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

from usage.models import TagSet
from usage.rollups.add import Place, move
from usage.rollups.from_ledger import DAY, Span, ends, ledger_rows, names, rows_of, span_of, tags_of
from usage.rollups.state import PLACE, SUMS, DayRollup, HourRollup, Rollup
from usage.rollups.tags import keep_tag_sets

log = logging.getLogger("sluice.rollups")

ADVISORY_LOCK = 5_713_002
"""One mends at a time: two would add what is missing twice."""


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
    found = [difference for day in held_days(since) if (difference := check_day(day, repair=repair))]
    for difference in found:
        log.warning(
            "Rollups of %s lacked %d requests and %d picodollars, in %d rows%s.",
            difference.day,
            difference.requests,
            difference.cost_picousd,
            difference.rows,
            "; mended" if repair else "",
        )
    return found


def held_days(since: date | None) -> list[date]:
    """The days of which the ledger has all rows: without those that retention has taken, or begun to take."""
    found = ends()
    if found is None:
        return []
    oldest, day = found[0], found[1].date()
    first = oldest.date()
    if HourRollup.objects.filter(at__lt=oldest.replace(minute=0, second=0, microsecond=0)).exists():
        first += DAY  # what came before is gone, and so may be some of this day
    first = max(first, since or first)
    held: list[date] = []
    while day >= first:
        if rows_of(span_of(day)).exists():
            held.append(day)
        elif sums_of_day(DayRollup, day).exists():
            # Taken whole, and the day after it maybe in part; what is older came late.
            return held[-2::-1]
        day -= DAY
    return held[::-1]


def sums_of_day(model: type[Rollup], day: date) -> QuerySet[Any]:
    span = span_of(day)
    return model._default_manager.filter(at__gte=span.start, at__lt=span.end)


def check_day(day: date, *, repair: bool) -> Difference | None:
    """Raises `DatabaseError`."""
    span = span_of(day)
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        hours, sets = lacking_hours(span)
        if repair:
            keep_tag_sets(sets)
            move(HourRollup, hours)
        days = lacking(DayRollup, hour_rows(span), span)
        if repair:
            move(DayRollup, days)
            for model in (HourRollup, DayRollup):
                sums_of_day(model, day).filter(requests=0).delete()
    lack = hours or days
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
        known = tags_of(span)
        hours = lacking(HourRollup, ledger_rows(span, known), span)
        if all(place[-1] is not None for place in hours):
            break
        # Tags that nobody had before came with a request between the two statements.
    there = set(TagSet.objects.filter(pk__in=known.sets).values_list("pk", flat=True))
    return hours, {number: tags for number, tags in known.sets.items() if tags and number not in there}


def lacking(model: type[Rollup], source: tuple[str, list[Any]], span: Span) -> dict[Place, list[int]]:
    """What must be added to the rows of a day, for them to be what the source says. None where they are."""
    statement, values = source
    table = connection.ops.quote_name(model._meta.db_table)
    quoted = [connection.ops.quote_name(name) for name in SUMS]
    there = f"SELECT {names(PLACE)}, {', '.join(f'-{name}' for name in quoted)} FROM {table}"  # noqa: S608
    sums = [f"SUM({name})" for name in quoted]
    compared = (
        f"SELECT {names(PLACE)}, {', '.join(sums)} FROM ("  # noqa: S608 (no value in it)
        f"{statement} UNION ALL {there} WHERE at >= %s AND at < %s) AS both_sides "
        f"GROUP BY {names(PLACE)} HAVING {' OR '.join(f'{total} <> 0' for total in sums)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(compared, [*values, *span.as_values])
        return {
            (_moment(row[0]), *row[1 : len(PLACE)]): [int(number) for number in row[len(PLACE) :]]
            for row in cursor.fetchall()
        }


def hour_rows(span: Span) -> tuple[str, list[Any]]:
    """The rows of hours of a span as those of their day."""
    day = "date_trunc('day', at, 'UTC')" if connection.vendor == "postgresql" else "substr(at, 1, 10) || ' 00:00:00'"
    table = connection.ops.quote_name(HourRollup._meta.db_table)
    return (
        f"SELECT {day} AS at, {names(PLACE[1:])}, {names(SUMS)} FROM {table} "  # noqa: S608 (no value in it)
        "WHERE at >= %s AND at < %s"
    ), span.as_values


def _moment(value: Any) -> datetime:
    """SQLite has texts."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
