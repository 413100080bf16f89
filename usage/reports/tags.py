"""Reports by tag: sums by sets of tags, split up."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet, Sum
from rest_framework.serializers import ValidationError

from usage.models import TagSet
from usage.reports.question import Question
from usage.reports.sums import ALIAS, MOST_FILLED, Line, by_time
from usage.rollups.state import SUMS
from usage.rollups.tags import NO_TAGS

MOST_SETS = 10 * MOST_FILLED
"""Sums that are split up for one answer."""


def by_tag(rows: QuerySet[Any], question: Question) -> tuple[list[Line], dict[str, int]]:
    """Lines by time and tag, and the totals. A request counts for each of its tags, or for the blank one; in the totals
    it counts once. Raises `ValidationError` where that is too much for one answer."""
    rows, time = by_time(rows, question)
    found = rows.values(*time, "tags_id").annotate(**{ALIAS + name: Sum(name) for name in SUMS})
    by_sets = list(found.order_by()[: MOST_SETS + 1])
    if len(by_sets) > MOST_SETS:
        raise _too_many(MOST_SETS, "sums of sets of tags")
    tags = _tags_of({row["tags_id"] for row in by_sets})
    lines: defaultdict[tuple[datetime, tuple[str]], dict[str, int]] = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    totals = dict.fromkeys(SUMS, 0)
    for row in by_sets:
        at = row["span"].astimezone(UTC) if time else question.start
        for each in (totals, *(lines[at, (tag,)] for tag in tags[row["tags_id"]])):
            for name in SUMS:
                each[name] += int(row[ALIAS + name])
        if len(lines) > MOST_FILLED:
            raise _too_many(MOST_FILLED, "lines")
    return [Line(at, tag, lines[at, tag]) for at, tag in sorted(lines)], totals


def page_of(lines: list[Line], question: Question) -> tuple[list[Line], Line | None]:
    """Those after the page before, and the last of them where more follow."""
    if question.after is not None:
        at, tag = question.after
        if not isinstance(tag, str):
            raise ValidationError({"cursor": ["This cursor is of another question."]})
        lines = [line for line in lines if (line.at, line.group) > (at, (tag,))]
    size = question.page_size
    return lines[:size], lines[size - 1] if len(lines) > size else None


def _tags_of(ids: set[int]) -> dict[int, list[str]]:
    """The blank one where there are none, or where it is not known which: the nightly check puts that right."""
    sets = TagSet.objects.in_bulk(ids - {NO_TAGS})
    return {number: sets[number].tags if number in sets else [""] for number in ids}


def _too_many(most: int, what: str) -> ValidationError:
    told = f"That is more than {most:,} {what}; ask for a shorter span, or by longer periods."
    return ValidationError({"group_by": [told]})
