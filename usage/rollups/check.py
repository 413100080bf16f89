"""Compare the sums with the ledger, and mend them.

They move in the ledger's own transactions, so a difference means that rows were written past it: by an older version
while it was being replaced, by hand, from a backup. One statement finds the differences, so it sees the ledger and the
sums as of one moment; they are mended by adding what is missing, which no writer is in the way of.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction

from usage.models import RequestRecord
from usage.rollups.add import ERRORS, HITS, Place, move
from usage.rollups.state import PLACE, SUMS, DayRollup, HourRollup, Rollup

log = logging.getLogger("sluice.rollups")

ADVISORY_LOCK = 5_713_002
"""One mends at a time: two would add what is missing twice."""
DAY = timedelta(days=1)


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
    oldest = RequestRecord.objects.order_by("created_at").values_list("created_at", flat=True).first()
    newest = RequestRecord.objects.order_by("-created_at").values_list("created_at", flat=True).first()
    if oldest is None or newest is None:
        return []
    oldest = oldest.astimezone(UTC)
    first, day = oldest.date(), newest.astimezone(UTC).date()
    if HourRollup.objects.filter(at__lt=oldest.replace(minute=0, second=0, microsecond=0)).exists():
        first += DAY  # what came before is gone, and so may be some of this day
    first = max(first, since or first)
    held: list[date] = []
    while day >= first:
        if RequestRecord.objects.filter(**_of(day, "created_at")).exists():
            held.append(day)
        elif DayRollup.objects.filter(**_of(day, "at")).exists():
            # Taken whole, and the day after it maybe in part; what is older came late.
            return held[-2::-1]
        day -= DAY
    return held[::-1]


def _of(day: date, column: str) -> dict[str, datetime]:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return {f"{column}__gte": start, f"{column}__lt": start + DAY}


def check_day(day: date, *, repair: bool) -> Difference | None:
    """Raises `DatabaseError`."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        hours = lacking(HourRollup, ledger_rows(), start)
        if repair:
            move(HourRollup, hours)
        days = lacking(DayRollup, hour_rows(), start)
        if repair:
            move(DayRollup, days)
            for model in (HourRollup, DayRollup):
                model.objects.filter(**_of(day, "at"), requests=0).delete()
    lack = hours or days
    if not lack:
        return None
    requests, cost = SUMS.index("requests"), SUMS.index("cost_picousd")
    return Difference(
        day, len(lack), sum(sums[requests] for sums in lack.values()), sum(sums[cost] for sums in lack.values())
    )


def lacking(model: type[Rollup], source: str, start: datetime) -> dict[Place, list[int]]:
    """What must be added to the rows of a day, for them to be what the source says. None where they are."""
    table = connection.ops.quote_name(model._meta.db_table)
    there = f"SELECT {_names(PLACE)}, {', '.join(f'-{name}' for name in _quoted(SUMS))} FROM {table}"  # noqa: S608
    sums = [f"SUM({name})" for name in _quoted(SUMS)]
    statement = (
        f"SELECT {_names(PLACE)}, {', '.join(sums)} FROM ("  # noqa: S608 (no value in it)
        f"{source} UNION ALL {there} WHERE at >= %s AND at < %s) AS both_sides "
        f"GROUP BY {_names(PLACE)} HAVING {' OR '.join(f'{total} <> 0' for total in sums)}"
    )
    span = [connection.ops.adapt_datetimefield_value(moment) for moment in (start, start + DAY)]
    with connection.cursor() as cursor:
        cursor.execute(statement, [*span, *span])
        return {
            (_moment(row[0]), *row[1 : len(PLACE)]): [int(number) for number in row[len(PLACE) :]]
            for row in cursor.fetchall()
        }


def ledger_rows() -> str:
    """The ledger's rows of a span as rows of sums; what `add.sums_of` says of an event."""
    if connection.vendor == "postgresql":
        hour = "date_trunc('hour', created_at, 'UTC')"
        microseconds = "CAST(round({} * 1000) AS bigint)"
    else:
        hour = "substr(created_at, 1, 13) || ':00:00'"  # its functions for dates round to milliseconds
        microseconds = "CAST(round({} * 1000) AS integer)"
    numbers = [f"COALESCE({name}, 0) AS {name}" for name in PLACE if name.endswith("_id")]
    names = [name for name in SUMS if name.endswith("_tokens") or name == "cost_picousd"]
    tokens = {name: f"COALESCE({name}, 0)" for name in names}
    expressions = {
        **tokens,
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
    return (
        f"SELECT {hour} AS at, {', '.join(numbers)}, provider, model, {sums} FROM {table} "  # noqa: S608 (no value in it)
        "WHERE created_at >= %s AND created_at < %s"
    )


def hour_rows() -> str:
    """The rows of hours of a span as those of their day."""
    day = "date_trunc('day', at, 'UTC')" if connection.vendor == "postgresql" else "substr(at, 1, 10) || ' 00:00:00'"
    table = connection.ops.quote_name(HourRollup._meta.db_table)
    return (
        f"SELECT {day} AS at, {_names(PLACE[1:])}, {_names(SUMS)} FROM {table} "  # noqa: S608 (no value in it)
        "WHERE at >= %s AND at < %s"
    )


def _moment(value: Any) -> datetime:
    """SQLite has texts."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _quoted(names: tuple[str, ...]) -> list[str]:
    return [connection.ops.quote_name(name) for name in names]


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(_quoted(names))


def _counted(condition: str) -> str:
    return f"CASE WHEN {condition} THEN 1 ELSE 0 END"


def _literals(values: frozenset[str]) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))
