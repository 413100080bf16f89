"""Lines and totals of a report."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

from django.db.models import Q
from rest_framework.serializers import ValidationError

from usage.reports.question import TAG, Question
from usage.reports.sources import Range, Source
from usage.reports.spans import Period, midnight
from usage.rollups.state import SUMS, TagSet
from usage.rollups.tags import NO_TAGS

MOST_FILLED = 10_000
MOST_SETS = 10 * MOST_FILLED
"""Sums by sets of tags that are split up at once."""
GROWTH = 8
MOST_SPANS_AT_ONCE = 500
"""A week or month in another time zone is a condition of its own, of which SQLite takes some hundreds."""


class Line(NamedTuple):
    """One row of a report: the group's values are in the order of `group_by`; 0 is nobody."""

    at: datetime
    group: tuple[Any, ...]
    sums: dict[str, int]


def totals(source: Source) -> dict[str, int]:
    for row in source.sums([(source.question.start, source.question.end)]):
        return _sums(row)
    return dict.fromkeys(SUMS, 0)


def page(source: Source) -> tuple[list[Line], Line | None]:
    """Lines by time and then by group, and the last of them where more follow.

    Asks for a span, then for as many as there must be for a page, so that a page costs what is on it and not what all
    pages would.
    """
    question = source.question
    spans, after = spans_after(question)
    size = question.page_size
    lines: list[Line] = []
    count = 1 if question.group_by else size + 1
    while spans and len(lines) <= size:
        some = spans[: 1 if after is not None else min(count, MOST_SPANS_AT_ONCE)]
        more_lines = read(source, some, after, size + 1 - len(lines))
        lines += more_lines
        spans, after = spans[len(some) :], None
        wanted = (size + 1 - len(lines)) * len(some) // max(len(more_lines), 1) + 1
        count = min(max(wanted, 1), GROWTH * len(some)) if more_lines else GROWTH * len(some)
    return lines[:size], lines[size - 1] if len(lines) > size else None


def whole(source: Source) -> list[Line]:
    """All lines at once, or as many as show that they are too many to be filled up."""
    spans, lines = ranges(source.question), list[Line]()
    while spans and len(lines) <= MOST_FILLED:
        lines += read(source, spans[:MOST_SPANS_AT_ONCE], None, MOST_FILLED + 1 - len(lines))
        spans = spans[MOST_SPANS_AT_ONCE:]
    return lines


def fill_gaps(lines: Sequence[Line], question: Question) -> list[Line]:
    """Each group in each span. Raises `ValidationError` where that is too much for one answer."""
    there = {(line.at, line.group): line for line in lines}
    groups = sorted({line.group for line in lines}) if question.group_by else [()]
    if len(groups) * len(question.spans) > MOST_FILLED:
        raise ValidationError({"fill": [f"That is more than {MOST_FILLED:,} lines; ask for less, or without `fill`."]})
    nothing = dict.fromkeys(SUMS, 0)
    return [there.get((at, group)) or Line(at, group, nothing) for at in question.spans for group in groups]


def ranges(question: Question) -> list[Range]:
    """The spans, cut to what is asked for."""
    edges = [question.start, *question.spans[1:], question.end]
    return list(pairwise(edges))


def spans_after(question: Question) -> tuple[list[Range], tuple[Any, ...] | None]:
    """Those from the one on that the page before ended in, and the group that it ended with, if it is one of these."""
    spans = ranges(question)
    if question.after is None:
        return spans, None
    at, *group = question.after
    if question.period == Period.TOTAL:
        return spans, tuple(group)
    first = bisect_left(question.spans, at)
    is_one = first < len(spans) and question.spans[first] == at
    return spans[first:], tuple(group) if is_one else None


def read(source: Source, spans: Sequence[Range], after: tuple[Any, ...] | None, most: int) -> list[Line]:
    """So many lines of these spans, which come after that group."""
    if source.question.group_by == (TAG,):
        return _by_tag(source, spans, after)[:most]
    columns = source.columns()
    behind = None if after is None else _behind(columns, after)
    return [
        Line(at, group, sums)
        for at, group, sums in _read(source, spans, columns, after=behind, most=most)
    ]  # fmt: skip


def _by_tag(source: Source, spans: Sequence[Range], after: tuple[Any, ...] | None) -> list[Line]:
    """A request counts for each of its tags, or for the blank one. Raises `ValidationError` where that is too much."""
    if after is not None and not isinstance(after[0], str):
        raise _of_another_question()
    by_sets = _read(source, spans, ["tags_id"], most=MOST_SETS + 1)
    if len(by_sets) > MOST_SETS:
        problem = (
            f"That is more than {MOST_SETS:,} sums of sets of tags; ask for a shorter span, or by shorter periods."
        )
        raise ValidationError({"group_by": [problem]})
    tags = _tags_of({number for _, (number,), _ in by_sets})
    lines: defaultdict[tuple[datetime, tuple[str]], dict[str, int]] = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    for at, (number,), sums in by_sets:
        for tag in tags[number]:
            line = lines[at, (tag,)]
            for name in SUMS:
                line[name] += sums[name]
    return [Line(at, tag, lines[at, tag]) for at, tag in sorted(lines) if after is None or tag > after]


def _tags_of(ids: set[int]) -> dict[int, list[str]]:
    """The blank one where there are none, or where it is not known which: the nightly check puts that right."""
    sets = TagSet.objects.in_bulk(ids - {NO_TAGS})
    return {number: sets[number].tags if number in sets else [""] for number in ids}


def _read(source: Source, spans: Sequence[Range], columns: list[str], **how: Any) -> list[tuple[Any, ...]]:
    """Beginnings of spans, values of the columns, and sums."""
    question = source.question
    only = None
    if len(spans) == 1:  # no database must find out, row by row, which one it is
        only = question.spans[bisect_right(question.spans, spans[0][0]) - 1]
    rows = source.sums(spans, by=columns, period=question.period if only is None else Period.TOTAL, **how)
    first = 1 if only is None else 0
    width = first + len(columns)
    return [(only or _moment(row[0], question), tuple(row[first:width]), _sums(row[width:])) for row in rows]


def _behind(columns: Sequence[str], group: Sequence[Any]) -> Q:
    """The rows of groups that come after this one."""
    later = Q(pk__in=[])
    for place, value in enumerate(group):
        if isinstance(value, int) != columns[place].endswith("_id"):
            raise _of_another_question()
        equal = dict(zip(columns[:place], group[:place], strict=True))
        later |= Q(**equal, **{f"{columns[place]}__gt": value})
    return later


def _moment(value: Any, question: Question) -> datetime:
    """Of an hour, or of a day of the question's time zone; SQLite has texts."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if question.period != Period.HOUR:
        return midnight(moment.date(), question.zone)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _sums(numbers: Sequence[Any]) -> dict[str, int]:
    return {name: int(number) for name, number in zip(SUMS, numbers, strict=True)}


def _of_another_question() -> ValidationError:
    return ValidationError({"cursor": ["This cursor is of another question."]})
