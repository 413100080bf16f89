"""The hours, days, weeks and months of a report, in a time zone with its daylight saving time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import models

HOUR = timedelta(hours=1)
DEFAULT_DAYS = 30
MOST_SPANS = 10_000
"""The most spans of one report: a year of hours, or 27 years of days."""


class Period(models.TextChoices):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


class Unanswerable(ValueError):
    """There are no sums for a span or time zone. The message says why, and what to ask for instead."""


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name. Raises `Unanswerable`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Unanswerable(f"There is no time zone {name!r}; write an IANA name, such as Europe/Berlin.") from None


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a day, as budgets define it."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def midnight_of_utc(moment: datetime) -> datetime:
    """Return the beginning of the day of UTC that a moment is in."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def hours_around(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Extend a span to whole hours."""
    first = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    last = end.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return first, last if last == end else last + HOUR


def spans(period: str, start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the beginnings, in UTC, of all spans that overlap the time from `start` to `end`."""
    if period == Period.TOTAL:
        yield start
        return
    at = beginning(period, start, zone)
    while at < end:
        yield at
        at = following(period, at, zone)


def beginning(period: str, moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the beginning of the hour, day, week or month that a moment is in."""
    if period == Period.HOUR:
        return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    day = moment.astimezone(zone).date()
    if period == Period.WEEK:
        day -= timedelta(days=day.weekday())
    elif period == Period.MONTH:
        day = day.replace(day=1)
    return midnight(day, zone)


def following(period: str, at: datetime, zone: ZoneInfo) -> datetime:
    """Return the beginning of the next hour, day, week or month."""
    if period == Period.HOUR:
        return at + HOUR
    day = at.astimezone(zone).date()
    if period == Period.DAY:
        day += timedelta(days=1)
    elif period == Period.WEEK:
        day += timedelta(days=7)
    else:
        day = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
    return midnight(day, zone)


def all_spans(period: str, start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the beginnings of all spans.

    Raises `Unanswerable` if there are too many, or if one begins in the middle of an hour of UTC.
    """
    starts: list[datetime] = []
    for at in spans(period, start, end, zone):
        starts.append(at)
        if len(starts) > MOST_SPANS:
            raise Unanswerable(
                f"That is more than {MOST_SPANS:,} of `{period}`; ask for a shorter span, or longer ones."
            )
        if at.minute or at.second:
            raise Unanswerable(
                f"A {period} in {zone.key} begins in the middle of an hour of UTC, and there are sums by the hour "
                "alone; ask with time_zone=UTC, or for a zone that is whole hours away from it."
            )
    return starts
