"""When a budget's period begins and ends, in a time zone with all its changes of the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

PERIODS = ("total", "day", "week", "month")


class Span(NamedTuple):
    """From `start` up to, but not including, `end`, in Unix seconds; `end` None: for ever."""

    start: int
    end: int | None


ALWAYS = Span(0, None)

_latest: dict[tuple[str, str], Span] = {}


def span_at(period: str, time_zone: str, now: float) -> Span:
    """The period that `now` (Unix seconds) is in. Raises `ValueError` on an unknown period or time zone."""
    if period == "total":
        return ALWAYS
    span = _latest.get((period, time_zone))
    if span is None or not span.start <= now < (span.end or now):
        span = _latest[period, time_zone] = _span(period, time_zone, datetime.fromtimestamp(now, UTC))
    return span


def _span(period: str, time_zone: str, now: datetime) -> Span:
    zone = _zone(time_zone)
    today = now.astimezone(zone).date()
    if period == "day":
        first, following = today, today + timedelta(days=1)
    elif period == "week":
        first = today - timedelta(days=today.weekday())
        following = first + timedelta(days=7)
    elif period == "month":
        first = today.replace(day=1)
        following = (first + timedelta(days=31)).replace(day=1)
    else:
        raise ValueError(f"There is no period {period!r}; there are {', '.join(PERIODS)}.")
    return Span(_midnight(first, zone), _midnight(following, zone))


def _midnight(day: date, zone: ZoneInfo) -> int:
    """The first instant of a day: the earlier of two midnights, or the clock's jump over midnight (fold=0)."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"There is no time zone {name!r}.") from error
