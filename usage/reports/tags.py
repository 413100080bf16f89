"""Reports by tag: asked of the ledger, which alone has the tags of a request, for spans that it can be asked for."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC
from typing import Any

from django.db.models import BigIntegerField, Count, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast, Round, TruncHour
from rest_framework.serializers import ValidationError

from usage.models import RequestRecord
from usage.reports.question import Question
from usage.reports.spans import Period
from usage.reports.sums import ALIAS, MOST_FILLED, TRUNCATED, Line, filtered
from usage.rollups.add import ERRORS, HITS
from usage.rollups.state import SUMS


def _microseconds(column: str) -> Any:
    return Sum(Cast(Round(F(column) * Value(1000.0)), BigIntegerField()))


FROM_THE_LEDGER: dict[str, Any] = {
    "requests": Count("pk"),
    "errors": Count("pk", filter=Q(outcome__in=sorted(ERRORS))),
    "refused": Count("pk", filter=Q(outcome="refused")),
    "cache_hits": Count("pk", filter=Q(cache__in=sorted(HITS))),
    **{name: Sum(name) for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")},
    "cost_picousd": Sum("cost_picousd"),
    "unpriced": Count("pk", filter=Q(cost_picousd__isnull=True)),
    "duration_us": _microseconds("duration_ms"),
    "ttft_us": _microseconds("ttft_ms"),
    "ttft_requests": Count("ttft_ms"),
}
"""What SUMS are, of rows of the ledger."""


def by_tag(records: QuerySet[RequestRecord], question: Question) -> tuple[list[Line], dict[str, int]]:
    """Lines by time and tag, and the totals. A request counts for each of its tags, or for the blank one; in the totals
    it counts once. Raises `ValidationError` where that is too much for one answer."""
    records = filtered(records.filter(created_at__gte=question.start, created_at__lt=question.end), question)
    time: list[str] = []
    if question.period == Period.HOUR:
        records, time = records.annotate(span=TruncHour("created_at", tzinfo=UTC)), ["span"]
    elif question.period != Period.TOTAL:
        records, time = records.annotate(span=TRUNCATED[question.period]("created_at", tzinfo=question.zone)), ["span"]
    # By whole lists of tags: these are the keys', so there are few of them, and both databases can group by them.
    found = records.values(*time, "tags").annotate(**{ALIAS + name: total for name, total in FROM_THE_LEDGER.items()})
    lines: defaultdict[tuple[Any, tuple[str]], dict[str, int]] = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    totals = dict.fromkeys(SUMS, 0)
    for row in found.order_by():
        at = row["span"].astimezone(UTC) if time else question.start
        sums = [totals, *(lines[at, (tag,)] for tag in set(row["tags"]) or {""})]
        for each in sums:
            for name in SUMS:
                each[name] += int(row[ALIAS + name] or 0)
        if len(lines) > MOST_FILLED:
            raise ValidationError({"group_by": [f"That is more than {MOST_FILLED:,} lines; ask for a shorter span."]})
    return [Line(at, tag, lines[at, tag]) for at, tag in sorted(lines)], totals
