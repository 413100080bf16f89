"""The question that a report answers: read from the query string, validated, and with defaults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone
from rest_framework import serializers

from usage.reports.cursors import cursor_from
from usage.reports.spans import DEFAULT_DAYS, HOUR, Period, Unanswerable, all_spans, hours_around, midnight, zone_of

NOUNS = {
    "key": "key_id",
    "user": "user_id",
    "team": "team_id",
    "project": "project_id",
    "provider": "provider",
    "model": "model",
}
"""What a report may be grouped and filtered by, and its column."""

TAG = "tag"
"""Cannot be combined with other groups, because a request may have any number of tags. As a filter it can."""

BY_NUMBER = ("key", "user", "team", "project")
MAX_PAGE_SIZE = 500
LARGEST_ID = 2**63 - 1
YEARS = (1900, 2900)
"""Far from the ends of Python's calendar, which a midnight in some time zone could pass."""


class Question(NamedTuple):
    """The period is from `start` up to, but not including, `end`, both whole hours.

    `spans` are the beginnings of its hours, days, weeks or months. `after` is the last row of the page before.
    """

    group_by: tuple[str, ...]
    period: str
    start: datetime
    end: datetime
    zone: ZoneInfo
    spans: list[datetime]
    filters: dict[str, str]
    fill: bool
    page_size: int
    after: list[Any] | None


class QuestionSerializer(serializers.Serializer[Any]):
    group_by = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=100,
        help_text=f"Any of {', '.join(NOUNS)}, separated by commas; or {TAG}.",
    )
    period = serializers.ChoiceField(
        choices=Period.choices, default=Period.DAY, help_text="Weeks begin on Monday; `total` is one span."
    )
    since = serializers.CharField(
        required=False,
        max_length=40,
        help_text="A day in the time zone, or a time, as ISO 8601; rounded down to the hour. Default: 30 days.",
    )
    until = serializers.CharField(
        required=False, max_length=40, help_text="Not included; rounded up to the hour. Default: the end of today."
    )
    time_zone = serializers.CharField(
        required=False,
        max_length=64,
        help_text="Where days begin, whole hours away from UTC. Default: BUDGET_TIME_ZONE if it is, else UTC.",
    )
    key = serializers.IntegerField(required=False, min_value=1, max_value=LARGEST_ID)
    user = serializers.CharField(required=False, max_length=150, help_text="Number or name.")
    team = serializers.CharField(required=False, max_length=100, help_text="Number or name.")
    project = serializers.CharField(required=False, max_length=100, help_text="Number or name.")
    provider = serializers.CharField(required=False, allow_blank=True, max_length=64)
    model = serializers.CharField(
        required=False, allow_blank=True, max_length=200, trim_whitespace=False, help_text="As clients asked for it."
    )
    tag = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=1000,
        trim_whitespace=False,
        help_text="Requests that have it; blank: those without a tag.",
    )
    fill = serializers.BooleanField(
        default=False, help_text="Also the spans of a group in which nothing was used; the answer has one page."
    )
    page_size = serializers.IntegerField(default=100, min_value=1, max_value=MAX_PAGE_SIZE)
    cursor = serializers.CharField(required=False, max_length=2000, help_text="From `next`.")

    def get_fields(self) -> dict[str, Any]:
        """Rename `since` to `from`, which is a keyword of Python, and `until` to `to`."""
        names = {"since": "from", "until": "to"}
        return {names.get(name, name): field for name, field in super().get_fields().items()}

    def validate_group_by(self, text: str) -> tuple[str, ...]:
        nouns = tuple(noun.strip() for noun in text.split(",") if noun.strip())
        if nouns != (TAG,) and (not set(nouns) <= set(NOUNS) or len(set(nouns)) < len(nouns)):
            raise serializers.ValidationError(
                f"Use any of {', '.join(NOUNS)}, each once, separated by commas; or {TAG} by itself."
            )
        return nouns

    def validate_cursor(self, text: str) -> list[Any]:
        return cursor_from(text)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Add the member `question`."""
        zone_name = attrs.get("time_zone")
        try:
            zone = zone_of(zone_name or settings.BUDGET_TIME_ZONE)
            if zone_name is None and not _is_whole_hours_away(zone):
                zone = ZoneInfo("UTC")
            start, end = _span(attrs.get("from"), attrs.get("to"), zone)
            starts = all_spans(attrs["period"], start, end, zone)
        except Unanswerable as problem:
            raise serializers.ValidationError(str(problem)) from None
        after = attrs.get("cursor")
        if after is not None and len(after) != 1 + len(attrs["group_by"]):
            raise serializers.ValidationError({"cursor": ["This cursor is of another question."]})
        filters = {noun: str(attrs[noun]) for noun in (*NOUNS, TAG) if noun in attrs}
        group_by, period, fill = attrs["group_by"], attrs["period"], attrs["fill"]
        question = Question(group_by, period, start, end, zone, starts, filters, fill, attrs["page_size"], after)
        return {**attrs, "question": question}


def question_from(query: Any) -> Question:
    """Return the question in query parameters. Raises `ValidationError`."""
    serializer = QuestionSerializer(data=query)
    serializer.is_valid(raise_exception=True)
    question: Question = serializer.validated_data["question"]
    return question


def _span(since: str | None, until: str | None, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the whole hours from `since` to `until`, or their defaults. Raises `Unanswerable`."""
    today = timezone.now().astimezone(zone).date()
    end = _moment(until, zone, "to") if until else midnight(today + timedelta(days=1), zone)
    if since:
        start = _moment(since, zone, "from")
    else:
        start = midnight((end - HOUR).astimezone(zone).date() - timedelta(days=DEFAULT_DAYS - 1), zone)
    if not start < end:
        raise Unanswerable("`from` must come before `to`.")
    return hours_around(start, end)


def _moment(text: str, zone: ZoneInfo, name: str) -> datetime:
    """Parse a day, which means its first instant, or a time. A time without an offset is in the time zone.

    Raises `Unanswerable`.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Unanswerable(f"`{name}`: write a day or a time as ISO 8601, such as 2026-01-01.") from None
    if not YEARS[0] <= moment.year <= YEARS[1]:
        raise Unanswerable(f"`{name}` is outside of the years {YEARS[0]} to {YEARS[1]}.")
    if len(text) == len("2026-01-01"):
        return midnight(moment.date(), zone)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _is_whole_hours_away(zone: ZoneInfo) -> bool:
    """Whether the zone's offset is whole hours today: most reports are about recent days."""
    offset = timezone.now().astimezone(zone).utcoffset()
    return offset is not None and not offset % timedelta(hours=1)
