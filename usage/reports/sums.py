"""Questions to the rows of sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import TruncDay, TruncMonth, TruncWeek
from rest_framework.serializers import ValidationError

from usage.models import DayRollup, HourRollup, RequestRecord, TagSet
from usage.reports.question import BY_NUMBER, NOUNS, TAG, Question
from usage.reports.spans import Period, following
from usage.rollups.state import SUMS, Rollup
from usage.rollups.tags import NO_TAGS

MOST_FILLED = 10_000
ALIAS = "sum_"
"""Before the name of a sum in a query, where the name itself is the column's."""

TRUNCATED: dict[str, Any] = {Period.DAY: TruncDay, Period.WEEK: TruncWeek, Period.MONTH: TruncMonth}


class Line(NamedTuple):
    """One row of a report: the group's values are in the order of `group_by`; 0 is nobody."""

    at: datetime
    group: tuple[Any, ...]
    sums: dict[str, int]


def table_for(question: Question) -> type[Rollup]:
    """The days where they are the question's own days, else the hours."""
    ends = (question.start, question.end, *question.spans[1:])
    return DayRollup if question.period != Period.HOUR and not any(end.hour for end in ends) else HourRollup


def chosen(rows: QuerySet[Any], question: Question) -> QuerySet[Any]:
    """Those of the question's span and filters."""
    rows = rows.filter(at__gte=question.start, at__lt=question.end)
    for noun, value in question.filters.items():
        rows = rows.filter(_is(noun, value))
    return rows


def totals(rows: QuerySet[Any]) -> dict[str, int]:
    found = rows.aggregate(**{ALIAS + name: Sum(name) for name in SUMS})
    return {name: int(found[ALIAS + name] or 0) for name in SUMS}


def page(rows: QuerySet[Any], question: Question) -> tuple[list[Line], Line | None]:
    """Lines by time and then by group, and the last of them where more follow."""
    size = question.page_size
    lines = _lines(_after(rows, question), question, size + 1)
    return lines[:size], lines[size - 1] if len(lines) > size else None


def whole(rows: QuerySet[Any], question: Question) -> list[Line]:
    """All lines at once, or as many as show that they are too many to be filled up."""
    return _lines(rows, question, MOST_FILLED + 1)


def filled(lines: Sequence[Line], question: Question) -> list[Line]:
    """Each group in each span. Raises `ValidationError` where that is too much for one answer."""
    there = {(line.at, line.group): line for line in lines}
    groups = sorted({line.group for line in lines}) if question.group_by else [()]
    if len(groups) * len(question.spans) > MOST_FILLED:
        raise ValidationError({"fill": [f"That is more than {MOST_FILLED:,} lines; ask for less, or without `fill`."]})
    nothing = dict.fromkeys(SUMS, 0)
    return [there.get((at, group)) or Line(at, group, nothing) for at in question.spans for group in groups]


def _lines(rows: QuerySet[Any], question: Question, most: int) -> list[Line]:
    columns = [NOUNS[noun] for noun in question.group_by]
    rows, time = by_time(rows, question)
    if not time and not columns:
        if not rows.exists():
            return []  # a sum over nothing would be a row all the same
        return [Line(question.start, (), totals(rows))]
    found = rows.values(*time, *columns).annotate(**{ALIAS + name: Sum(name) for name in SUMS})
    return [
        Line(
            row["span"].astimezone(UTC) if time else question.start,
            tuple(row[column] for column in columns),
            {name: int(row[ALIAS + name]) for name in SUMS},
        )
        for row in found.order_by(*time, *columns)[:most]
    ]


def by_time(rows: QuerySet[Any], question: Question) -> tuple[QuerySet[Any], list[str]]:
    """Rows with the beginning of their hour, day, week or month, and the name of it; none in total."""
    if question.period == Period.TOTAL:
        return rows, []
    cut: Any = TRUNCATED.get(question.period)
    return rows.annotate(span=F("at") if cut is None else cut("at", tzinfo=question.zone)), ["span"]


def _after(rows: QuerySet[Any], question: Question) -> QuerySet[Any]:
    """Without the lines up to the one that the page before ended with."""
    if question.after is None:
        return rows
    at, *group = question.after
    columns = [NOUNS[noun] for noun in question.group_by]
    later = Q(pk__in=[])
    for place, value in enumerate(group):
        if isinstance(value, int) != columns[place].endswith("_id"):
            raise ValidationError({"cursor": ["This cursor is of another question."]})
        equal = dict(zip(columns[:place], group[:place], strict=True))
        later |= Q(**equal, **{f"{columns[place]}__gt": value})
    if question.period == Period.TOTAL:
        return rows.filter(later)
    end = following(question.period, at, question.zone)
    return rows.filter(Q(at__gte=end) | Q(at__gte=at, at__lt=end) & later)


def _is(noun: str, value: str) -> Q:
    if noun == TAG:
        return Q(tags_id__in=TagSet.objects.with_tag(value).values("pk")) if value else Q(tags_id=NO_TAGS)
    if noun not in BY_NUMBER:
        return Q(**{NOUNS[noun]: value})
    number = int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None
    if number is not None:
        return Q(**{NOUNS[noun]: number})
    model = model_of(noun)
    return Q(**{f"{NOUNS[noun]}__in": model._default_manager.filter(**{name_field(noun): value}).values("pk")})


def names_of(noun: str, ids: Iterable[int]) -> dict[int, str]:
    """Of those that still are."""
    rows = model_of(noun)._default_manager.filter(pk__in=set(ids))
    return dict(rows.values_list("pk", name_field(noun)))


def model_of(noun: str) -> Any:
    """Of other apps, which this one knows by its foreign keys alone."""
    return RequestRecord._meta.get_field(noun).related_model


def name_field(noun: str) -> str:
    return "username" if noun == "user" else "name"
