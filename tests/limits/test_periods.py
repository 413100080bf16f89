"""Where a budget's periods begin and end (P6)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.limits.periods import span_at


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "period,zone,now,start,end",
    [
        ("day", "UTC", "2026-06-01 12:00", "2026-06-01 00:00", "2026-06-02 00:00"),
        ("day", "UTC", "2026-06-01 00:00", "2026-06-01 00:00", "2026-06-02 00:00"),
        ("day", "Asia/Kolkata", "2026-06-01 18:29:59", "2026-05-31 18:30", "2026-06-01 18:30"),
        ("day", "Asia/Kolkata", "2026-06-01 18:30", "2026-06-01 18:30", "2026-06-02 18:30"),
        # Berlin's day of 23 hours, and that of 25.
        ("day", "Europe/Berlin", "2026-03-29 12:00", "2026-03-28 23:00", "2026-03-29 22:00"),
        ("day", "Europe/Berlin", "2026-10-25 00:30", "2026-10-24 22:00", "2026-10-25 23:00"),
        ("day", "America/New_York", "2026-03-08 07:00", "2026-03-08 05:00", "2026-03-09 04:00"),
        ("day", "America/New_York", "2026-11-01 05:30", "2026-11-01 04:00", "2026-11-02 05:00"),
        # Half an hour of summer time.
        ("day", "Australia/Lord_Howe", "2026-04-04 20:00", "2026-04-04 13:00", "2026-04-05 13:30"),
        # A day without a midnight begins when the clock jumps over it.
        ("day", "Africa/Cairo", "2026-04-24 12:00", "2026-04-23 22:00", "2026-04-24 21:00"),
        ("day", "Africa/Cairo", "2026-04-23 21:59:59", "2026-04-22 22:00", "2026-04-23 22:00"),
        # A day with two midnights begins at the first.
        ("day", "America/Havana", "2026-11-01 05:30", "2026-11-01 04:00", "2026-11-02 05:00"),
        # The hour before midnight comes twice, and both are of the same day.
        ("day", "America/Sao_Paulo", "2019-02-17 02:30", "2019-02-16 02:00", "2019-02-17 03:00"),
        # Samoa skipped a day.
        ("day", "Pacific/Apia", "2011-12-30 09:00", "2011-12-29 10:00", "2011-12-30 10:00"),
        ("day", "Pacific/Apia", "2011-12-30 10:00", "2011-12-30 10:00", "2011-12-31 10:00"),
        ("week", "UTC", "2026-06-01 00:00", "2026-06-01 00:00", "2026-06-08 00:00"),
        ("week", "UTC", "2026-06-07 23:59:59", "2026-06-01 00:00", "2026-06-08 00:00"),
        ("week", "Europe/Berlin", "2026-03-29 21:59:59", "2026-03-22 23:00", "2026-03-29 22:00"),
        ("week", "Asia/Tokyo", "2026-06-07 15:00", "2026-06-07 15:00", "2026-06-14 15:00"),
        ("month", "UTC", "2026-02-28 23:59:59", "2026-02-01 00:00", "2026-03-01 00:00"),
        ("month", "UTC", "2024-02-29 12:00", "2024-02-01 00:00", "2024-03-01 00:00"),
        ("month", "UTC", "2026-12-31 23:59:59", "2026-12-01 00:00", "2027-01-01 00:00"),
        ("month", "Europe/Berlin", "2026-03-31 22:00", "2026-03-31 22:00", "2026-04-30 22:00"),
        ("month", "Europe/Berlin", "2026-10-31 23:00", "2026-10-31 23:00", "2026-11-30 23:00"),
        ("month", "America/New_York", "2026-03-01 04:59:59", "2026-02-01 05:00", "2026-03-01 05:00"),
    ],
)
def test_a_period_begins_at_the_first_instant_of_its_first_day(period: str, zone: str, now: str, start: str, end: str):
    assert span_at(period, zone, utc(now)) == (utc(start), utc(end))


def test_in_all_means_from_the_beginning_and_for_ever():
    assert span_at("total", "UTC", 0) == (0, None)


def test_a_period_or_zone_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="fortnight"):
        span_at("fortnight", "UTC", 0)
    with pytest.raises(ValueError, match="Mars/Olympus"):
        span_at("day", "Mars/Olympus", 0)


@given(
    period=st.sampled_from(["day", "week", "month"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Africa/Cairo", "Pacific/Apia", "Asia/Kathmandu"]),
    now=st.floats(1.2e9, 2.2e9),
)
def test_periods_follow_one_another_without_gap_or_overlap(period: str, zone: str, now: float):
    start, end = span_at(period, zone, now)
    assert end is not None
    assert start <= now < end
    assert span_at(period, zone, end).start == end
    assert span_at(period, zone, start - 0.001).end == start
