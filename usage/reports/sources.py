"""Choose and read the tables of sums that answer a question.

Whole days of UTC are read from the sums by day, the rest from those by hour. If a question names only models, or only
one noun, it is answered from smaller tables that have only these columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import F, Q, QuerySet
from django.db.models.functions import TruncDay, TruncMonth, TruncWeek

from usage.reports.names import its_number
from usage.reports.question import BY_NUMBER, NOUNS, TAG, Question
from usage.reports.spans import Period, midnight_of_utc
from usage.rollups.state import (
    KINDS,
    MODEL_PLACE,
    SUMS,
    DayKindRollup,
    DayModelRollup,
    DayRollup,
    HourKindRollup,
    HourModelRollup,
    HourRollup,
    TagSet,
)
from usage.rollups.tags import NO_TAGS

DAY = timedelta(days=1)
SPAN = "span"
TRUNCATED: dict[str, Any] = {Period.DAY: TruncDay, Period.WEEK: TruncWeek, Period.MONTH: TruncMonth}

Range = tuple[datetime, datetime]
Visible = Callable[[QuerySet[Any]], QuerySet[Any]]
"""Limits rows to those that the user may see."""


class Source(NamedTuple):
    """A question, and the rows that the user who asks may see."""

    question: Question
    visible: Visible

    def columns(self) -> list[str]:
        return ["tags_id" if noun == TAG else NOUNS[noun] for noun in self.question.group_by]

    def is_narrowed(self) -> bool:
        """Whether the user may not see all rows."""
        return bool(self.visible(HourRollup.objects.all()).query.where)

    def tables(self, columns: Sequence[str]) -> tuple[QuerySet[Any], QuerySet[Any]]:
        """Return the rows of hours and of days, from the smallest tables that have the columns."""
        named = {*columns, *("tags_id" if noun == TAG else NOUNS[noun] for noun in self.question.filters)}
        if not self.is_narrowed():
            if named <= set(MODEL_PLACE):
                return HourModelRollup.objects.all(), DayModelRollup.objects.all()
            for kind, column in KINDS.items():
                if named == {column}:
                    its = {column: F("ident")}
                    return (
                        HourKindRollup.objects.filter(kind=kind).annotate(**its),
                        DayKindRollup.objects.filter(kind=kind).annotate(**its),
                    )
        return HourRollup.objects.all(), DayRollup.objects.all()

    def sums(
        self, spans: Sequence[Range], *, by: Sequence[str] = (), period: str = Period.TOTAL, after: Q | None = None,
        most: int | None = None,
    ) -> list[tuple[Any, ...]]:  # fmt: skip
        """Return rows of the span's beginning (except for `total`), the values of the columns `by`, and SUMS.

        `spans` must follow each other without a gap. `most` is the most rows to return.
        """
        named = [*([] if period == Period.TOTAL else [SPAN]), *by]
        compiled, values = [], list[Any]()
        for rows in self._pieces(spans, by, period):
            wanted = (rows if after is None else rows.filter(after)).values_list(*named, *SUMS)
            try:
                statement, its_values = wanted.query.get_compiler(connection=connection).as_sql()
            except EmptyResultSet:
                continue
            compiled.append(statement)
            values += its_values
        if not compiled:
            return []
        rows_of_all = compiled[0]
        if len(compiled) > 1:
            # Only the first lines of the days are needed: the first lines of both together are the first in each.
            hours, days = (added_up(compiled[0], named), self._first(added_up(compiled[1], named), named, most))
            rows_of_all = f"SELECT * FROM ({hours}) AS hours UNION ALL SELECT * FROM ({days}) AS days"  # noqa: S608
        with connection.cursor() as cursor:
            cursor.execute(self._first(added_up(rows_of_all, named), named, most), values)
            return list(cursor.fetchall())

    def _first(self, lines: str, named: Sequence[str], most: int | None) -> str:
        """Return a statement for the first lines of a statement.

        If there are filters, PostgreSQL must not scan an index in the order of the lines: few of its rows, or none, may
        match the filters.
        """
        places = ", ".join(str(place) for place in range(1, len(named) + 1))
        order = (f" ORDER BY {places}" if named else "") + ("" if most is None else f" LIMIT {most}")
        is_part = self.question.filters or self.is_narrowed()
        if is_part and connection.vendor == "postgresql":
            return f"WITH lines AS MATERIALIZED ({lines}) SELECT * FROM lines{order}"  # noqa: S608
        return lines + order

    def _pieces(self, spans: Sequence[Range], columns: Sequence[str], period: str) -> Iterable[QuerySet[Any]]:
        hours, days = self.tables(columns)
        in_hours, in_days = split(spans, by_hours=period == Period.HOUR)
        cut = TRUNCATED.get(period)
        for all_rows, ranges in ((hours, in_hours), (days, in_days)):
            if ranges:
                conditions = [_is(noun, value) for noun, value in self.question.filters.items()]
                rows = self.visible(all_rows.filter(within(ranges), *conditions))
                span = F("at") if cut is None else cut("at", tzinfo=self.question.zone)
                yield rows if period == Period.TOTAL else rows.annotate(**{SPAN: span})


def added_up(rows: str, named: Sequence[str]) -> str:
    """Return a statement for the sums of a statement's rows. It yields no row if there are none."""
    places = ", ".join(str(place) for place in range(1, len(named) + 1))
    selected = ", ".join((*map(connection.ops.quote_name, named), *(f"SUM({name}) AS {name}" for name in SUMS)))
    grouped = f"GROUP BY {places}" if named else "HAVING COUNT(*) > 0"
    return f"SELECT {selected} FROM ({rows}) AS added {grouped}"  # noqa: S608 (no value in it)


def split(spans: Sequence[Range], *, by_hours: bool) -> tuple[list[Range], list[Range]]:
    """Return the ranges to read from the hours, and those to read from the days: days that are wholly in one span."""
    start, end = spans[0][0], spans[-1][1]
    if by_hours:
        return [(start, end)], []
    edges = [start, *(span[1] for span in spans)]
    cut = sorted({midnight_of_utc(edge) for edge in edges if edge != midnight_of_utc(edge)})
    in_hours: list[Range] = []
    for day in cut:
        first, last = max(day, start), min(day + DAY, end)
        if in_hours and in_hours[-1][1] == first:
            first = in_hours.pop()[0]
        in_hours.append((first, last))
    starts = [start, *(last for _, last in in_hours)]
    ends = [*(first for first, _ in in_hours), end]
    return in_hours, [(first, last) for first, last in zip(starts, ends, strict=True) if first < last]


def within(ranges: Sequence[Range]) -> Q:
    condition = Q()
    for start, end in ranges:
        condition |= Q(at__gte=start, at__lt=end)
    return condition


def _is(noun: str, value: str) -> Q:
    if noun == TAG:
        return Q(tags_id__in=TagSet.objects.with_tag(value).values("pk")) if value else Q(tags_id=NO_TAGS)
    if noun not in BY_NUMBER:
        return Q(**{NOUNS[noun]: value})
    return its_number(noun, NOUNS[noun], value)
