"""X96: the counters of a process, one by one, at the very moment and amount where each of them changes its mind."""

from __future__ import annotations

from math import inf
from typing import Any, TypeVar

import pytest

from keys.limits import Ask, Baseline, Need
from keys.limits.base import DAY_US, SECOND_US, CrossedThreshold, Used
from keys.limits.counters import (
    BaselineCounter,
    Bucket,
    Budget,
    Counter,
    Daily,
    Lifetime,
    RequestWindow,
    Slots,
    TokenWindow,
)
from keys.limits.counters.quota import KEPT_US
from keys.limits.refusal import Refusal
from tests.kit.scopes import NOON, scope

T0 = round(NOON * 1e6)
MIDNIGHT = T0 // DAY_US * DAY_US
ONE = Ask()
C = TypeVar("C", bound=Counter)
P = TypeVar("P", bound=BaselineCounter)


def counter_of(kind: type[C], **limits: Any) -> C:
    counter = kind()
    counter.set(scope(**limits))
    return counter


def need(*, since: int = 0, day: int = MIDNIGHT, period: str = "total", zone: str = "UTC") -> Need:
    return Need("key", "1", period, zone, since // SECOND_US, day // SECOND_US)


def loaded_counter(kind: type[P], baseline: Baseline = Baseline(), **limits: Any) -> P:  # noqa: B008 (frozen)
    """One that has been told what was before."""
    counter = counter_of(kind, **limits)
    assert counter.check(ONE, T0) is not None
    period = str(limits.get("period", "total"))
    counter.load(need(since=0 if period == "total" else MIDNIGHT, period=period), baseline)
    return counter


def usage_of(tokens: int = 0, cost: int = 0, requests: int | None = None, at: int = T0) -> Used:
    return Used(tokens, cost, requests, at)


def refusal_of(counter: Counter, ask: Ask, now: int) -> Refusal:
    refusal = counter.check(ask, now)
    assert refusal is not None
    return refusal


# --- what is forgotten -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "kind, limits", [(Lifetime, {"max_requests": 9}), (Daily, {"daily": 9}), (Budget, {"budget": 9})]
)
def test_a_count_with_a_past_is_kept_until_the_ledger_has_it(kind: type[BaselineCounter], limits: dict[str, Any]):
    counter = loaded_counter(kind, **limits)
    mark = counter.take(ONE, T0 + 7)
    if kind is Budget:
        assert not counter.idle(T0 + 7 + 10 * KEPT_US), "something of it runs"
    counter.settle(mark, usage_of(at=T0 + 9))
    last = T0 + 9 if kind is Budget else T0 + 7
    assert [counter.idle(last + passed) for passed in (0, KEPT_US - 1, KEPT_US)] == [False, False, True]
    assert counter.idle(last - 1), "a clock that was set back keeps nothing for longer"
    assert KEPT_US == 300 * SECOND_US


@pytest.mark.parametrize(
    "kind, limits", [(Lifetime, {"max_requests": 9}), (Daily, {"daily": 9}), (Budget, {"budget": 9})]
)
def test_what_is_asked_for_its_past_is_kept_meanwhile(kind: type[BaselineCounter], limits: dict[str, Any]):
    counter = counter_of(kind, **limits)
    refusal_of(counter, ONE, T0)
    assert [counter.idle(T0), counter.idle(T0 + KEPT_US)] == [False, True]


def test_a_window_is_forgotten_when_its_last_minute_is_over():
    window = counter_of(RequestWindow, rpm=2)
    assert window.idle(T0)
    window.take(ONE, T0)
    assert [window.idle(T0 + 60 * SECOND_US - 1), window.idle(T0 + 60 * SECOND_US)] == [False, True]


def test_tokens_that_will_be_settled_are_kept():
    window = counter_of(TokenWindow, tpm=9)
    mark = window.take(Ask(tokens=1), T0)
    assert not window.idle(T0 + 3600 * SECOND_US)
    assert mark is not None
    window.settle(mark, usage_of(1))
    assert window.idle(T0 + 3600 * SECOND_US)


def test_a_bucket_is_forgotten_when_it_has_run_out():
    bucket = counter_of(Bucket, rps=2, burst=4)
    assert bucket.check(ONE, T0) is None
    bucket.take(ONE, T0)
    assert not bucket.idle(T0)
    assert [bucket.idle(T0 + SECOND_US // 2 - 1), bucket.idle(T0 + SECOND_US // 2)] == [False, True]


def test_slots_are_forgotten_when_none_is_taken():
    slots = counter_of(Slots, parallel=1)
    assert slots.idle(T0)
    mark = slots.take(ONE, T0)
    assert not slots.idle(T0 + DAY_US)
    slots.settle(mark, usage_of())
    assert slots.idle(T0)


# --- windows ---------------------------------------------------------------------------------------------------
def test_requests_within_a_second_run_out_with_the_last_of_them():
    window = counter_of(RequestWindow, rpm=2)
    window.take(ONE, T0)
    window.take(ONE, T0 + SECOND_US - 1)
    assert len(window.entries) == 1
    assert refusal_of(window, ONE, T0 + SECOND_US).wait_us == 60 * SECOND_US - 1
    window.take(ONE, T0 + SECOND_US)
    assert len(window.entries) == 2


def test_as_many_entries_run_out_as_are_too_many_and_no_more():
    window = counter_of(TokenWindow, tpm=6)
    window.take(Ask(tokens=2), T0)
    mark = window.take(Ask(tokens=1), T0 + SECOND_US // 2)
    window.take(Ask(tokens=2), T0 + 10 * SECOND_US)
    window.take(Ask(tokens=1), T0 + 10 * SECOND_US + 5)
    assert [entry.amount for entry in window.entries] == [3, 3]
    now, first_is_over = T0 + 20 * SECOND_US, T0 + SECOND_US // 2 + 60 * SECOND_US
    waits = [refusal_of(window, Ask(tokens=tokens), now).wait_us for tokens in (1, 3, 4, 6)]
    second_is_over = T0 + 10 * SECOND_US + 5 + 60 * SECOND_US
    assert waits == [first_is_over - now] * 2 + [second_is_over - now] * 2
    assert mark is not None
    window.settle(mark, usage_of(0))
    assert [entry.amount for entry in window.entries] == [2, 3]
    assert window.check(Ask(tokens=3), first_is_over) is None
    assert (window.total, [entry.amount for entry in window.entries]) == (3, [3])
    assert refusal_of(window, Ask(tokens=4), second_is_over - 1).wait_us == 1
    assert window.check(Ask(tokens=6), second_is_over) is None


def test_a_clock_set_back_within_a_second_does_not_let_a_request_run_out_earlier():
    window = counter_of(RequestWindow, rpm=2)
    window.take(ONE, T0)
    window.take(ONE, T0 - 5)
    assert window.entries[0].last == T0


@pytest.mark.parametrize("back_us, kept", [(60 * SECOND_US, True), (60 * SECOND_US + 1, False)])
def test_a_clock_set_back_by_more_than_a_minute_begins_anew(back_us: int, kept: bool):
    window = counter_of(TokenWindow, tpm=5)
    mark = window.take(Ask(tokens=5), T0)
    assert (window.check(Ask(tokens=1), T0 - back_us) is not None) is kept
    assert window.total == (5 if kept else 0)
    assert mark is not None
    window.settle(mark, usage_of(2))
    assert window.total == (2 if kept else 0), "what is forgotten gives nothing back"


def test_the_newest_entry_tells_how_far_a_clock_was_set_back():
    window = counter_of(RequestWindow, rpm=2)
    window.take(ONE, T0 - 30 * SECOND_US)
    window.take(ONE, T0)
    assert window.check(ONE, T0 - 60 * SECOND_US - 1) is None


def test_what_ran_out_gives_nothing_back():
    window = counter_of(TokenWindow, tpm=9)
    mark = window.take(Ask(tokens=5), T0)
    later = T0 + 60 * SECOND_US
    assert window.check(Ask(tokens=9), later) is None
    window.take(Ask(tokens=3), later)
    assert mark is not None
    window.settle(mark, usage_of(1, at=later))
    assert window.total == 3


@pytest.mark.parametrize("tokens, total, entries", [(7, 7, 2), (5, 5, 1), (2, 2, 1), (0, 0, 1)])
def test_what_was_too_little_counts_from_now_and_what_was_too_much_from_then(tokens: int, total: int, entries: int):
    window = counter_of(TokenWindow, tpm=9)
    mark = window.take(Ask(tokens=5), T0)
    assert mark is not None
    window.settle(mark, usage_of(tokens, at=T0 + 30 * SECOND_US))
    assert (window.total, len(window.entries)) == (total, entries)
    assert window.entries[-1].last == (T0 + 30 * SECOND_US if tokens > 5 else T0)


def test_a_minutes_standing_is_what_is_left_and_when_all_of_it_is():
    window = counter_of(RequestWindow, rpm=3)
    assert window.status(T0) == (3, 3, 0.0)
    window.take(ONE, T0)
    assert window.status(T0 + 20 * SECOND_US) == (3, 2, 40.0)
    window.set(scope(rpm=0))
    assert window.status(T0) == (0, 0, inf)
    window.set(scope(rpm=1))
    window.take(ONE, T0 + SECOND_US)
    assert window.status(T0 + 2 * SECOND_US) == (1, 0, 59.0)
    assert window.rate(1, T0 + 5 * SECOND_US, T0 + 5 * SECOND_US) == (1, 1, 60.0)
    assert window.rate(1, 0, T0 + 61 * SECOND_US) == (1, 1, 0.0)
    assert window.rate(1, 0, T0 + 90 * SECOND_US) == (1, 1, 0.0)


# --- bursts and slots ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("burst, most", [(None, 2), (1, 1), (5, 5)])
def test_as_many_at_once_as_the_burst_says_else_the_rate(burst: int | None, most: int):
    bucket = counter_of(Bucket, rps=2, burst=burst)
    for _ in range(most):
        assert bucket.check(ONE, T0) is None
        bucket.take(ONE, T0)
    assert bucket.check(ONE, T0) == Refusal("rps", 2, most, 1, "time", SECOND_US // 2)
    assert bucket.check(ONE, T0 + SECOND_US // 2 - 1) == Refusal("rps", 2, most, 1, "time", 1)
    assert bucket.check(ONE, T0 + SECOND_US // 2) is None


@pytest.mark.parametrize("limits", [{"rps": 0}, {"rps": 0, "burst": 1}, {"rps": 1, "burst": 0}])
def test_a_rate_or_a_burst_of_nothing_never_has_room_again(limits: dict[str, Any]):
    bucket = counter_of(Bucket, **limits)
    if limits.get("burst"):
        assert bucket.check(ONE, T0) is None
        bucket.take(ONE, T0)
    assert refusal_of(bucket, ONE, T0) == ("rps", bucket.rate, 1 if limits.get("burst") else 0, 1, "never", 0, None, 0)


def test_a_clock_set_back_lets_a_bucket_run_out_from_where_it_is():
    bucket = counter_of(Bucket, rps=1)
    assert bucket.check(ONE, T0) is None
    bucket.take(ONE, T0)
    assert refusal_of(bucket, ONE, T0 - 10 * SECOND_US).wait_us == SECOND_US
    assert refusal_of(bucket, ONE, T0 - 9 * SECOND_US - 1).wait_us == 1
    assert bucket.check(ONE, T0 - 9 * SECOND_US) is None


@pytest.mark.parametrize(
    "kind, limits",
    [(RequestWindow, {"rpm": 0}), (TokenWindow, {"tpm": 0}), (Lifetime, {"max_requests": 0}), (Daily, {"daily": 0})],
)
def test_a_limit_of_nothing_has_no_room_and_says_nothing_else(kind: type[Counter], limits: dict[str, Any]):
    counter = loaded_counter(kind, **limits) if issubclass(kind, BaselineCounter) else counter_of(kind, **limits)
    refusal = refusal_of(counter, Ask(tokens=1), T0)
    assert (refusal.limit, refusal.used, refusal.amount, refusal.cure) == (0, 0, 1, "never")


def test_slots_of_nothing_never_have_room_and_others_when_one_ends():
    assert refusal_of(counter_of(Slots, parallel=0), ONE, T0) == Refusal("parallel", 0, 0, 1, "never", SECOND_US)
    slots = counter_of(Slots, parallel=1)
    slots.take(ONE, T0)
    assert refusal_of(slots, ONE, T0) == Refusal("parallel", 1, 1, 1, "others", SECOND_US)


# --- quotas ----------------------------------------------------------------------------------------------------
def test_a_day_ends_at_midnight_and_its_requests_give_nothing_back_to_the_next():
    daily = loaded_counter(Daily, Baseline(requests_today=2), daily=3)
    mark = daily.take(ONE, T0)
    assert refusal_of(daily, ONE, MIDNIGHT + DAY_US - 1) == Refusal("daily", 3, 3, 1, "time", 1, MIDNIGHT + DAY_US)
    assert daily.check(Ask(requests=0), T0) is None, "what is free has room"
    assert refusal_of(daily, Ask(requests=4), T0).cure == "never"
    assert daily.check(Ask(requests=3), MIDNIGHT + DAY_US) is None
    daily.take(Ask(requests=2), MIDNIGHT + DAY_US)
    daily.settle(mark, usage_of(requests=0))
    assert daily.used == 2


@pytest.mark.parametrize("told, left", [(None, 3), (3, 3), (1, 1), (0, 0), (5, 5)])
def test_requests_that_were_fewer_or_more_than_asked_are_settled(told: int | None, left: int):
    daily, lifetime = loaded_counter(Daily, daily=9), loaded_counter(Lifetime, max_requests=9)
    daily.settle(daily.take(Ask(requests=3), T0), usage_of(requests=told))
    lifetime.settle(lifetime.take(Ask(requests=3), T0), usage_of(requests=told))
    assert (daily.used, lifetime.used) == (left, left)


def test_a_clock_set_back_over_midnight_goes_on_with_the_day_and_over_two_asks_the_ledger():
    daily = loaded_counter(Daily, daily=3)
    daily.take(ONE, T0)
    assert daily.check(ONE, MIDNIGHT - 1) is None
    assert daily.used == 1
    assert refusal_of(daily, ONE, MIDNIGHT - DAY_US - 1).limit_kind == ""
    daily.load(need(day=MIDNIGHT), Baseline(requests_today=3))
    assert refusal_of(daily, ONE, MIDNIGHT - DAY_US - 1).limit_kind == "", "that was of another day"
    daily.load(need(day=MIDNIGHT - 2 * DAY_US), Baseline(requests_today=2))
    assert (daily.used, daily.check(ONE, MIDNIGHT - DAY_US - 1)) == (2, None)


def test_a_quota_has_room_for_as_many_as_are_left():
    lifetime, daily = loaded_counter(Lifetime, max_requests=3), loaded_counter(Daily, daily=3)
    for counter in (lifetime, daily):
        assert counter.check(Ask(requests=3), T0) is None
        assert counter.check(Ask(requests=4), T0) is not None
        counter.take(Ask(requests=3), T0)
        assert counter.check(Ask(requests=0), T0) is None, "what is free has room"
    assert refusal_of(daily, Ask(requests=3), T0).cure == "time"
    assert refusal_of(lifetime, Ask(requests=1), T0).cure == "never"


def test_a_ledger_that_has_more_raises_and_one_of_another_day_does_not():
    daily, lifetime = loaded_counter(Daily, daily=9), loaded_counter(Lifetime, max_requests=9)
    for more, stands in ((4, 4), (3, 4)):
        daily.raise_to(need(), Baseline(requests_today=more))
        lifetime.raise_to(need(), Baseline(requests_total=more))
        assert (daily.used, lifetime.used) == (stands, stands)
    daily.raise_to(need(day=MIDNIGHT - DAY_US), Baseline(requests_today=8))
    assert daily.used == 4
    fresh = counter_of(Daily, daily=9), counter_of(Lifetime, max_requests=9)
    for counter in fresh:
        counter.raise_to(need(), Baseline(requests_today=5, requests_total=5))
        assert counter.used == 0, "what is not known is loaded"
    assert refusal_of(
        loaded_counter(Lifetime, Baseline(requests_total=8), max_requests=9), Ask(requests=2), T0
    ) == Refusal("max_requests", 9, 8, 2, "never", 0)


# --- money -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "spent, ask, admitted",
    [
        (8, Ask(cost=2, bounded=True), True),
        (8, Ask(cost=3, bounded=True), False),
        (9, Ask(cost=3), True),
        (9, Ask(cost=None), True),
        (10, Ask(cost=0, bounded=True), False),
        (10, Ask(cost=0), False),
    ],
)
def test_a_budget_has_room_below_it_and_for_what_surely_fits(spent: int, ask: Ask, admitted: bool):
    budget = loaded_counter(Budget, Baseline(spent_picousd=spent), budget=10)
    assert (budget.check(ask, T0) is None) is admitted


def test_each_running_request_without_a_bound_is_as_dear_as_the_dearest():
    budget = loaded_counter(Budget, budget=10)
    first, second = budget.take(Ask(cost=1), T0), budget.take(Ask(cost=1), T0)
    assert budget.reserved == 2
    budget.settle(first, usage_of(cost=4))
    assert (budget.spent, budget.reserved) == (4, 4)
    budget.settle(budget.take(Ask(cost=1), T0), usage_of(cost=3))
    assert (budget.spent, budget.reserved) == (7, 4), "the dearest is still the one before"
    assert refusal_of(budget, Ask(cost=1), T0).cure == "others"
    bounded = budget.take(Ask(cost=2, bounded=True), T0)
    assert budget.reserved == 6
    budget.settle(bounded, usage_of(cost=9))
    budget.settle(second, usage_of())
    assert (budget.spent, budget.reserved) == (16, 0)
    budget.set(scope(budget=28))
    for reserved in (4, 8, 12):
        assert budget.check(Ask(cost=1), T0) is None
        budget.take(Ask(cost=1), T0)
        assert budget.reserved == reserved, "what had a bound makes no other dear"
    assert refusal_of(budget, Ask(cost=1), T0).used == 28


@pytest.mark.parametrize(
    "spent, running, ask, period, cure, wait",
    [
        (0, 0, Ask(cost=11, bounded=True), "day", "never", 0),
        (4, 6, Ask(cost=6, bounded=True), "day", "others", SECOND_US),
        (4, 6, Ask(cost=7, bounded=True), "day", "time", MIDNIGHT + DAY_US - T0),
        (4, 6, Ask(cost=7, bounded=True), "total", "never", 0),
        (9, 1, Ask(cost=50), "day", "others", SECOND_US),
        (10, 0, Ask(), "day", "time", MIDNIGHT + DAY_US - T0),
        (10, 0, Ask(), "total", "never", 0),
    ],
)
def test_what_cures_a_budget_that_has_no_room(spent: int, running: int, ask: Ask, period: str, cure: str, wait: int):
    budget = loaded_counter(Budget, Baseline(spent_picousd=spent), budget=10, period=period)
    budget.take(Ask(cost=running, bounded=True), T0)
    refusal = refusal_of(budget, ask, T0)
    resets = MIDNIGHT + DAY_US if period == "day" else None
    assert refusal == ("budget", 10, spent + running, ask.cost, cure, wait, resets, spent)


def test_no_period_brings_a_budget_of_nothing():
    budget = loaded_counter(Budget, budget=0, period="day")
    assert refusal_of(budget, Ask(cost=1), T0) == ("budget", 0, 0, 1, "never", 0, MIDNIGHT + DAY_US, 0)


def test_the_next_period_brings_the_smallest_budget():
    budget = loaded_counter(Budget, Baseline(spent_picousd=1), budget=1, period="day")
    assert refusal_of(budget, Ask(cost=1), T0).cure == "time"


def test_what_is_settled_after_its_period_is_not_of_the_next_and_what_began_with_it_is():
    budget = loaded_counter(Budget, budget=10, period="day")
    mark = budget.take(Ask(cost=3, bounded=True), T0)
    tomorrow = MIDNIGHT + DAY_US
    assert refusal_of(budget, Ask(cost=8, bounded=True), tomorrow - 1).used == 3
    assert budget.check(Ask(cost=10, bounded=True), tomorrow) is None
    budget.settle(mark, usage_of(cost=3, at=tomorrow))
    assert (budget.spent, budget.reserved, budget.running) == (0, 0, 0)
    for taken_at, spent in ((tomorrow - 1, 0), (tomorrow, 2)):
        budget.charge(2, taken_at)
        assert budget.spent == spent
    assert refusal_of(budget, Ask(cost=9, bounded=True), tomorrow).spent == 2, "it began once"


def test_a_clock_set_back_over_midnight_goes_on_with_the_period_and_by_more_than_a_day_asks_the_ledger():
    budget = loaded_counter(Budget, Baseline(spent_picousd=6), budget=10, period="day")
    for back in (1, DAY_US):
        assert refusal_of(budget, Ask(cost=5, bounded=True), MIDNIGHT - back).spent == 6
    assert refusal_of(budget, ONE, MIDNIGHT - DAY_US - 1).limit_kind == ""
    budget.charge(3, MIDNIGHT)
    assert budget.spent == 0, "what is not known yet is in the baseline"
    budget.load(need(since=MIDNIGHT, period="day"), Baseline(spent_picousd=4))
    assert refusal_of(budget, ONE, MIDNIGHT - DAY_US - 1).limit_kind == "", "that was of another period"


def test_the_soft_threshold_is_told_of_when_it_is_reached_and_once():
    budget = loaded_counter(Budget, Baseline(spent_picousd=70), budget=100, soft_threshold=0.8)
    thresholds = [budget.settle(budget.take(ONE, T0), usage_of(cost=cost)) for cost in (9, 1, 1, 50)]
    assert thresholds == [None, CrossedThreshold("key", "1", 100, 80, "total", 0), None, None]
    raised = loaded_counter(Budget, Baseline(spent_picousd=79), budget=100)
    assert raised.raise_to(need(), Baseline(spent_picousd=78)) is None
    assert raised.raise_to(need(), Baseline(spent_picousd=85)) == CrossedThreshold("key", "1", 100, 85, "total", 0)
    assert raised.raise_to(need(period="day"), Baseline(spent_picousd=99)) is None
    assert raised.spent == 85


def test_a_baseline_is_taken_once_and_of_the_same_period_alone():
    budget = loaded_counter(Budget, Baseline(spent_picousd=5), budget=100, period="day")
    budget.load(need(since=MIDNIGHT, period="day"), Baseline(spent_picousd=50))
    assert budget.spent == 5
    for other in (need(since=MIDNIGHT - DAY_US, period="day"), need(since=MIDNIGHT, period="week")):
        assert budget.raise_to(other, Baseline(spent_picousd=50)) is None
    assert budget.status() == (100, 5, 0, (MIDNIGHT + DAY_US) / SECOND_US)
    assert loaded_counter(Budget, budget=100).status() == (100, 0, 0, None)


def test_other_limits_leave_what_is_spent_and_another_period_does_not():
    budget = loaded_counter(Budget, Baseline(spent_picousd=5), budget=100)
    mark = budget.take(Ask(cost=2, bounded=True), T0)
    budget.set(scope(budget=50))
    assert (budget.limit, budget.spent, budget.reserved) == (50, 5, 2)
    budget.set(scope(budget=50, period="day"))
    assert refusal_of(budget, ONE, T0).limit_kind == ""
    budget.load(need(since=MIDNIGHT, period="day"), Baseline(spent_picousd=1))
    budget.settle(mark, usage_of(cost=2))
    assert (budget.spent, budget.reserved) == (3, 0)
    budget.set(scope(budget=50, period="day", time_zone="Asia/Tokyo"))
    assert not budget.has_baseline
