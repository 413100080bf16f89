"""A minute is any 60 seconds (P12), exactly enough, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.limits import Ask, LimitExceeded, Limits, MemoryLimits, Scope
from keys.limits.counters import TokenWindow
from tests.kit.gates import Gate
from tests.kit.scopes import NOON, scope


@given(limit=st.integers(1, 6), gaps=st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.999, 1.0, 7.0, 29.0]), max_size=120))
@settings(deadline=None)
def test_no_minute_wherever_it_begins_has_more_than_the_limit(limit: int, gaps: list[float]):
    limits, key, now = MemoryLimits(), scope(rpm=limit), NOON
    accepted: list[float] = []
    for gap in gaps:
        now = round(now + gap, 3)
        try:
            limits.reserve_at_once((key,), Ask(), now)
        except LimitExceeded:
            # It is no phantom: there were as many in this minute and the second before it.
            assert len([at for at in accepted if at > now - 61]) >= limit
        else:
            accepted.append(now)
            assert len([at for at in accepted if at > now - 60]) <= limit


def test_requests_that_come_one_by_one_are_counted_to_the_microsecond(gate: Gate):
    key = scope(rpm=3)
    for _ in range(3):
        gate.reserve(key)
        gate.clock.pass_by(1.5)
    assert gate.refused(key).retry_after_s == 55.5
    gate.clock.pass_by(55.499999)
    gate.refused(key)
    gate.clock.pass_by(0.000001)
    gate.reserve(key)
    assert gate.refused(key).retry_after_s == 1.5


def test_a_lowered_limit_waits_for_as_many_as_are_too_many(gate: Gate):
    for _ in range(5):
        gate.reserve(scope(rpm=5))
        gate.clock.pass_by(1)
    assert gate.refused(scope(rpm=2)).retry_after_s == 58
    gate.clock.pass_by(58)
    gate.reserve(scope(rpm=2))


def test_a_window_of_a_million_tokens_takes_no_more_room_than_one_of_ten():
    window = TokenWindow()
    window.set(scope(tpm=10**12))
    for step in range(100_000):
        now = round((NOON + step / 800) * 1e6)
        assert window.check(Ask(tokens=10), now) is None
        window.take(Ask(tokens=10), now)
    assert len(window.entries) <= 62


@pytest.mark.parametrize("back_s", [1, 59])
def test_a_clock_that_is_set_back_a_little_lets_no_more_through(gate: Gate, back_s: int):
    key = scope(rpm=2)
    for _ in range(2):
        gate.reserve(key)
    gate.clock.pass_by(-back_s)
    assert gate.refused(key).retry_after_s == 60 + back_s


def test_a_clock_that_is_set_back_by_hours_does_not_block_for_hours(gate: Gate):
    key = scope(rpm=1, rps=1, tpm=10, daily=5, budget=5, period="day")
    gate.reserve(key, Ask(tokens=10)).settle(10)
    gate.clock.pass_by(-7200)
    refusal = gate.refused(key, Ask(tokens=10))
    assert refusal.limit_kind == "rps"
    gate.clock.pass_by(1)
    gate.reserve(key, Ask(tokens=10))


def test_scopes_that_were_seen_once_are_forgotten():
    limits = MemoryLimits(clock=lambda: NOON)
    everything = Limits(rpm=9, tpm=9, rps=9, parallel=9)
    most = 0
    for number in range(60_000):
        limits.reserve_at_once((Scope("key", str(number), "", everything),), Ask(), NOON + number * 0.1).settle()
        most = max(most, len(limits))
    assert most < 1300  # those of two minutes


def test_scopes_that_were_only_refused_are_forgotten():
    limits, full = MemoryLimits(clock=lambda: NOON), scope("project", rpm=1)
    limits.reserve_at_once((full,), Ask(), NOON)
    for number in range(100):
        with pytest.raises(LimitExceeded):
            limits.reserve_at_once((scope("address", str(number), rpm=9), full), Ask(), NOON)
    assert len(limits) < 4


def test_tokens_that_a_long_request_used_beyond_its_estimate_are_not_forgotten():
    now = NOON
    limits, key = MemoryLimits(clock=lambda: now), scope(tpm=10)
    reservation = limits.reserve_at_once((key,), Ask(tokens=1), now)
    now += 3600
    for number in range(50):
        limits.reserve_at_once((Scope("key", f"x{number}", "", Limits(rpm=9)),), Ask(), now)
    reservation.settle(11)
    with pytest.raises(LimitExceeded):
        limits.reserve_at_once((key,), Ask(tokens=1), now)


def test_scopes_with_something_running_are_not_forgotten():
    limits = MemoryLimits(clock=lambda: NOON)
    reservation = limits.reserve_at_once((scope(parallel=1),), Ask(), NOON)
    for number in range(2000):
        limits.reserve_at_once((Scope("key", f"x{number}", "", Limits(rpm=9)),), Ask(), NOON + 3600 + number)
    with pytest.raises(LimitExceeded):
        limits.reserve_at_once((scope(parallel=1),), Ask(), NOON + 9999)
    reservation.settle()
    limits.reserve_at_once((scope(parallel=1),), Ask(), NOON + 9999)
