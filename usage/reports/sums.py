"""Read the lines and totals of a report."""

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
"""The most sums by sets of tags that are read at once, to be split into sums by tag."""
GROWTH = 8
MOST_SPANS_AT_ONCE = 500
"""A week or month in a time zone other than UTC is a condition of its own. SQLite accepts some hundreds of them."""


class Line(NamedTuple):
    """One row of a report. The group's values have the order of `group_by`; the id 0 means none."""

    at: datetime
    group: tuple[Any, ...]
    sums: dict[str, int]


def totals(source: Source) -> dict[str, int]:
    for row in source.sums([(source.question.start, source.question.end)]):
        return _sums(row)
    return dict.fromkeys(SUMS, 0)


def page(source: Source) -> tuple[list[Line], Line | None]:
    """Return lines in the order of time and group, and the last of them if more follow.

    One span is read first, and then as many as should fill the page. So the cost of a page depends on its own lines,
    and not on those of all pages.
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
    """Return all lines; if there are more than `MOST_FILLED`, just enough that `fill_gaps` refuses them."""
    spans, lines = ranges(source.question), list[Line]()
    while spans and len(lines) <= MOST_FILLED:
        lines += read(source, spans[:MOST_SPANS_AT_ONCE], None, MOST_FILLED + 1 - len(lines))
        spans = spans[MOST_SPANS_AT_ONCE:]
    return lines


def fill_gaps(lines: Sequence[Line], question: Question) -> list[Line]:
    """Return a line for each group in each span. Raises `ValidationError` if that is too much for one answer."""
    there = {(line.at, line.group): line for line in lines}
    groups = sorted({line.group for line in lines}) if question.group_by else [()]
    if len(groups) * len(question.spans) > MOST_FILLED:
        raise ValidationError({"fill": [f"That is more than {MOST_FILLED:,} lines; ask for less, or without `fill`."]})
    nothing = dict.fromkeys(SUMS, 0)
    return [there.get((at, group)) or Line(at, group, nothing) for at in question.spans for group in groups]


def ranges(question: Question) -> list[Range]:
    """Return the spans, cut to the period of the question."""
    edges = [question.start, *question.spans[1:], question.end]
    return list(pairwise(edges))


def spans_after(question: Question) -> tuple[list[Range], tuple[Any, ...] | None]:
    """Return the spans from the one in which the page before ended, and the group with which it ended.

    The group is None if there was no page before, or if the cursor's time is not the beginning of a span.
    """
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
    """Return at most `most` lines of these spans that come after a group."""
    if source.question.group_by == (TAG,):
        return _by_tag(source, spans, after)[:most]
    columns = source.columns()
    behind = None if after is None else _behind(columns, after)
    return [
        Line(at, group, sums)
        for at, group, sums in _read(source, spans, columns, after=behind, most=most)
    ]  # fmt: skip


def _by_tag(source: Source, spans: Sequence[Range], after: tuple[Any, ...] | None) -> list[Line]:
    """Return lines by tag. A request counts for each of its tags; without tags, for the blank one.

    Raises `ValidationError` if there are too many sets of tags.
    """
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
    """Return the tags of each set; the blank tag for the set without tags, or if a set is not known.

    The nightly check repairs unknown sets.
    """
    sets = TagSet.objects.in_bulk(ids - {NO_TAGS})
    return {number: sets[number].tags if number in sets else [""] for number in ids}


def _read(source: Source, spans: Sequence[Range], columns: list[str], **how: Any) -> list[tuple[Any, ...]]:
    """Return rows of the span's beginning, the values of the columns, and the sums."""
    question = source.question
    only = None
    if len(spans) == 1:  # saves the database working out the span of each row
        only = question.spans[bisect_right(question.spans, spans[0][0]) - 1]
    rows = source.sums(spans, by=columns, period=question.period if only is None else Period.TOTAL, **how)
    first = 1 if only is None else 0
    width = first + len(columns)
    return [(only or _moment(row[0], question), tuple(row[first:width]), _sums(row[width:])) for row in rows]


def _behind(columns: Sequence[str], group: Sequence[Any]) -> Q:
    """Return the condition that a row's group comes after this one."""
    later = Q(pk__in=[])
    for place, value in enumerate(group):
        if isinstance(value, int) != columns[place].endswith("_id"):
            raise _of_another_question()
        equal = dict(zip(columns[:place], group[:place], strict=True))
        later |= Q(**equal, **{f"{columns[place]}__gt": value})
    return later


def _moment(value: Any, question: Question) -> datetime:
    """Convert a span's beginning from the database: an hour, or a day in the question's zone. SQLite returns text."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if question.period != Period.HOUR:
        return midnight(moment.date(), question.zone)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _sums(numbers: Sequence[Any]) -> dict[str, int]:
    return {name: int(number) for name, number in zip(SUMS, numbers, strict=True)}


def _of_another_question() -> ValidationError:
    return ValidationError({"cursor": ["This cursor is of another question."]})
