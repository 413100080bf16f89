"""The short way gives the same answers as asking every counter, one by one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from keys.limits import Ask, Baseline, LimitExceeded, Limits, MemoryLimits, Scope, Unknown
from keys.limits.fast_path import FastPath
from keys.limits.reservation import MemoryReservation
from tests.kit.scopes import NOON, Clock, scope


class AnswerContext:
    """One backend, with what it said to everything."""

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, fast_paths: bool) -> None:
        self.thresholds: list[Any] = []
        self.limits = MemoryLimits(clock=clock, on_threshold=self.thresholds.append)
        self.monkeypatch, self.fast_paths, self.clock = monkeypatch, fast_paths, clock
        self.reservation: dict[int, Any] = {}

    def reserve(self, number: int, scopes: tuple[Scope, ...], ask: Ask) -> Any:
        with self.monkeypatch.context() as patch:
            if not self.fast_paths:
                patch.setattr("keys.limits.memory.open_fast_path", lambda *_: None)
            while True:
                try:
                    reservation = self.reservation[number] = self.limits.reserve_at_once(scopes, ask, self.clock())
                    return ("held", reservation.rates)
                except Unknown as unknown:
                    for need in unknown.needs:
                        self.limits.load(need, Baseline(3, 2, 1))
                except LimitExceeded as refusal:
                    return ("refused", refusal.scope, refusal.refusal, refusal.statuses)


MOST = {"rpm": 60, "tpm": 600, "rps": 30, "parallel": 12, "daily": 200, "max_requests": 400, "budget": 200}


def some_limits(draw: random.Random, times: int) -> Limits:
    """Often few of them, so that each is at times the one that is reached."""
    kinds = draw.sample(list(MOST), draw.randint(0, 4))
    limits: dict[str, Any] = {kind: draw.randint(1, MOST[kind] * times) for kind in kinds}
    if "rps" in limits and draw.random() < 0.5:
        limits["burst"] = draw.randint(1, 40 * times)
    return Limits(**limits, period=draw.choice(["total", "day", "month"]))


@pytest.mark.parametrize("seed", range(250))
def test_fast_paths_and_counters_say_the_same(monkeypatch: pytest.MonkeyPatch, seed: int):
    draw, clock = random.Random(seed), Clock()
    both = [AnswerContext(clock, monkeypatch, fast_paths=True), AnswerContext(clock, monkeypatch, fast_paths=False)]
    times = draw.choice([1, 10])
    names = [("key", "1"), ("key", "2"), ("team", "1"), ("global", "1")]
    scopes = {name: Scope(*name, name[0], some_limits(draw, times)) for name in names}
    asks: dict[int, tuple[tuple[Scope, ...], Ask]] = {}
    groups: dict[tuple[Scope, ...], tuple[Scope, ...]] = {}
    pauses = draw.choice([[0, 0.000001, 0.001, 0.01, 0.05, 0.1, 0.4, 2], [0, 0.001, 0.002, 0.01] * 10 + [2]])
    odd = draw.choice([0.1, 0.001])
    """How often something is asked for that closes the fast paths: in some runs seldom, so that they get full."""
    turns = draw.choice([0.5, 0.02])
    """How often the other key asks."""
    own, other = names[:2]
    for step in range(400):
        clock.pass_by(draw.choice(pauses))
        what = draw.random()
        if what < 0.55 or not asks:
            # One key or the other, so that some scopes have fast paths and others have none.
            own, other = (other, own) if draw.random() < turns else (own, other)
            asked = (scopes[own], *(scopes[name] for name in names[2:]))
            asked = groups.setdefault(asked, asked)  # the same object for the same scopes, as keys have it
            ask = Ask(
                draw.choice([0, 2]) if draw.random() < odd else 1,
                draw.randint(0, 9),
                draw.randint(0, 9),
                draw.random() < 0.5,
            )
            answers = [one.reserve(step, asked, ask) for one in both]
            assert answers[0] == answers[1], step
            if answers[0][0] == "held":
                asks[step] = asked, ask
        elif what < 1 - odd:
            number = draw.choice(list(asks))
            _, ask = asks.pop(number)
            cost = draw.randint(0, ask.cost or 0) if ask.bounded else draw.randint(0, 15)
            used = (
                draw.randint(0, 15),
                cost,
                draw.choice([ask.requests, 0]) if draw.random() < odd else draw.choice([None, 1]),
            )
            for one in both:
                one.reservation.pop(number).settle(*used)
        elif what < 1 - odd / 2:
            name = draw.choice(names)
            scopes[name] = Scope(*name, name[0], some_limits(draw, times))
        elif asks:
            statuses = [one.reservation[next(reversed(asks))].statuses for one in both]
            assert statuses[0] == statuses[1], step
        assert sorted(both[0].thresholds) == sorted(both[1].thresholds), step


def test_what_is_asked_for_often_has_a_fast_path():
    """Else nothing above was tested."""
    clock = Clock()
    limits, scopes = MemoryLimits(clock=clock), (Scope("key", "1", "", Limits(rpm=100, tpm=1000, parallel=10)),)
    for _ in range(4):
        reservation = limits.reserve_at_once(scopes, Ask(tokens=3), clock())
        clock.pass_by(0.01)
    assert limits._fast_paths_of[scopes] is reservation.fast_paths
    assert isinstance(reservation.fast_paths[0], FastPath)
    assert reservation.rates[0] == (100, 96, 60)
    assert reservation.rates == reservation.statuses[:2]


def test_after_a_quiet_minute_nothing_is_left_of_a_fast_path():
    clock = Clock()
    limits, key = MemoryLimits(clock=clock), Scope("key", "1", "", Limits(rpm=3, tpm=100))
    for _ in range(3):
        limits.reserve_at_once((key,), Ask(tokens=3), clock()).settle(30)
        clock.pass_by(0.01)
    with pytest.raises(LimitExceeded):
        limits.reserve_at_once((key,), Ask(tokens=3), clock())
    clock.pass_by(61)
    reservation = limits.reserve_at_once((key,), Ask(tokens=3), clock())
    assert reservation.rates == ((3, 2, 60), (100, 97, 60))


@pytest.mark.parametrize("last, spent", [(30, 80_000), (35, 80_005)])
def test_fast_paths_tell_of_a_soft_threshold_when_it_is_reached(last: int, spent: int):
    clock, thresholds = Clock(), list[Any]()
    limits = MemoryLimits(clock=clock, on_threshold=thresholds.append)
    scopes = (Scope("key", "1", "", Limits(budget=100_000)), Scope("team", "1", "", Limits(rpm=1000)))
    with pytest.raises(Unknown) as unknown:
        limits.reserve_at_once(scopes, Ask(cost=10), clock())
    limits.load(unknown.value.needs[0], Baseline())

    def spend(cost: int, by: tuple[Scope, ...] = scopes) -> None:
        clock.pass_by(0.001)
        limits.reserve_at_once(by, Ask(cost=10, bounded=True), clock()).settle(cost=cost)

    def spend_until_they_have_fast_paths() -> None:
        for _ in range(8):
            spend(10)
        assert [fast_path.is_closed for fast_path in limits._fast_paths_of[scopes]] == [False, False]

    spend_until_they_have_fast_paths()
    spend(79_800)
    spend(10, by=scopes[:1])
    spend_until_they_have_fast_paths()
    assert thresholds == []
    spend(last)
    assert [(threshold.kind, threshold.spent) for threshold in thresholds] == [("key", spent)]


class FastKey:
    """A key that is asked for every millisecond, so that it has a fast path from the third request on."""

    def __init__(self, *, spent: int = 0, at: float = NOON, **limits: Any) -> None:
        self.clock = Clock(at)
        self.limits = MemoryLimits(clock=self.clock)
        self.scopes = (scope(rpm=1000, **limits),)
        with pytest.raises(Unknown) as unknown:
            self.reserve()
        self.limits.load(unknown.value.needs[0], Baseline(spent_picousd=spent))

    def reserve(self, ask: Ask = Ask()) -> MemoryReservation:  # noqa: B008 (frozen)
        self.clock.pass_by(0.001)
        return self.limits.reserve_at_once(self.scopes, ask, self.clock())

    def open_fast_path(self) -> None:
        """It has counted three requests then."""
        for has_one in (False, False, True):
            assert bool(self.reserve().fast_paths) is has_one

    def is_full(self) -> bool:
        try:
            self.reserve()
        except LimitExceeded:
            return True
        return False


@pytest.mark.parametrize("kind", ["daily", "max_requests"])
def test_a_request_on_a_fast_path_that_was_free_counts_for_no_quota(kind: str):
    key = FastKey(**{kind: 4})
    key.open_fast_path()
    key.reserve().settle(requests=0)
    assert [key.is_full(), key.is_full()] == [False, True]


@pytest.mark.parametrize("kind", ["daily", "max_requests"])
def test_a_batch_takes_its_size_of_a_quota_beside_a_fast_path(kind: str):
    key = FastKey(**{kind: 8})
    key.open_fast_path()
    key.reserve(Ask(requests=0))
    assert key.reserve().fast_paths
    key.reserve(Ask(requests=3))
    assert [key.is_full(), key.is_full()] == [False, True]


def bounded(cost: int) -> Ask:
    return Ask(cost=cost, bounded=True)


def test_requests_that_run_on_a_fast_path_hold_their_money():
    key = FastKey(budget=100)
    for _ in range(10):
        key.reserve(bounded(10))
    assert key.is_full(), "a budget that is exactly reached lets nothing through, whatever it costs"


def test_requests_without_a_bound_on_a_fast_path_are_each_as_dear_as_the_dearest():
    key = FastKey(budget=100)
    key.reserve(Ask(cost=1)).settle(cost=20)
    for _ in range(4):
        key.reserve(Ask(cost=1))
    assert key.is_full()


def test_what_costs_more_than_its_bound_leaves_a_fast_path_less_room():
    key = FastKey(spent=900, budget=1000)
    key.open_fast_path()
    for spent in range(907, 1006, 7):
        assert not key.is_full(), spent
        key.reserve(bounded(1)).settle(cost=7)
    assert key.is_full()


def test_what_was_taken_beside_a_fast_path_and_costs_more_than_its_bound_leaves_it_less_room():
    key = FastKey(spent=900, budget=1000)
    running = [key.reserve(bounded(1)) for _ in range(2)]
    assert key.reserve().fast_paths
    for reservation in running:
        assert not key.is_full()
        reservation.settle(cost=50)
    assert key.is_full()


JUST_BEFORE_MIDNIGHT = NOON + 12 * 3600 - 0.005


def test_a_fast_path_counts_no_request_of_a_new_day_as_of_the_last():
    key = FastKey(at=JUST_BEFORE_MIDNIGHT, daily=9)
    key.open_fast_path()
    key.clock.pass_by(0.001)
    assert [key.is_full() for _ in range(10)] == [False] * 9 + [True]


def test_a_fast_path_counts_no_money_of_a_new_period_as_of_the_last():
    key = FastKey(at=JUST_BEFORE_MIDNIGHT, budget=100, period="day")
    key.open_fast_path()
    key.clock.pass_by(0.001)
    reservation = key.reserve(bounded(10))
    reservation.settle(cost=10)
    assert reservation.statuses.budget is not None
    budget = key.reserve().statuses.budget
    assert budget is not None
    assert budget.spent == 10
