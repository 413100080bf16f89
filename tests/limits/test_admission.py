"""All or nothing over all scopes (F100, F101, P5, P13), in this process and in Redis."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from keys.limits import Ask, Baseline
from keys.limits.counters import COUNTERS
from keys.limits.scope import COUNT_LIMITS
from tests.kit.gates import Gate, RedisGate
from tests.kit.scopes import USD, scope

EVERY_KIND: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "rpm": ({"rpm": 2}, {}),
    "tpm": ({"tpm": 20}, {"tokens": 10}),
    "rps": ({"rps": 2}, {}),
    "parallel": ({"parallel": 2}, {}),
    "daily": ({"daily": 2}, {}),
    "max_requests": ({"max_requests": 2}, {}),
    "budget": ({"budget": 2 * USD}, {"cost": USD, "bounded": True}),
}


def test_every_limit_is_counted_and_has_its_row_here():
    # A burst says how the bucket of `rps` is filled.
    assert set(EVERY_KIND) == {counter.limit_kind for counter in COUNTERS} == {*COUNT_LIMITS, "budget"} - {"burst"}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_each_limit_lets_as_many_through_as_it_says(gate: Gate, kind: str):
    limits, ask = EVERY_KIND[kind]
    for _ in range(2):
        gate.reserve(scope(**limits), Ask(**ask))
    refusal = gate.refused(scope(**limits), Ask(**ask))
    assert refusal.limit_kind == kind
    assert refusal.code == ("insufficient_quota" if kind in ("max_requests", "budget") else "rate_limit_exceeded")


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("place", range(4))
def test_one_scope_without_room_leaves_all_others_as_they_were(gate: Gate, kind: str, place: int):
    limits, ask = EVERY_KIND[kind]
    full = scope("team", "full", **limits)
    for _ in range(2):
        gate.reserve(full, Ask(**ask))
    others = [
        scope(name, "1", rpm=1, tpm=100, rps=1, parallel=1, daily=1, max_requests=1, budget=10 * USD)
        for name in ("key", "user", "project")
    ]
    for _ in range(5):
        refusal = gate.refused([*others[:place], full, *others[place:]], Ask(**ask))
        assert refusal.scope == full
    gate.reserve(others, Ask(**ask))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_refusal_leaves_not_a_byte_in_redis(redis_url: str, kind: str):
    gate = RedisGate(redis_url)
    limits, ask = EVERY_KIND[kind]
    full, other = scope(**limits), scope("project", rpm=5, tpm=1000, parallel=5, budget=10 * USD, daily=9)
    for _ in range(2):
        gate.reserve([full, other], Ask(**ask))

    def stored() -> dict[bytes, bytes]:
        with redis.Redis.from_url(redis_url) as asking:
            keys = asking.keys(gate.prefix + "*")
            return {key: asking.dump(key) for key in keys if b":process:" not in key and b"serial" not in key}

    before = stored()
    gate.refused([full, other], Ask(**ask))
    assert stored() == before
    gate.close()


def test_of_several_refusals_the_longest_wait_is_told(gate: Gate):
    key, project = scope(rps=1, rpm=1), scope("project", daily=1)
    gate.reserve([key, project])
    refusal = gate.refused([key, project])
    assert (refusal.limit_kind, refusal.scope, refusal.retry_after_s) == ("daily", project, 12 * 3600)
    assert refusal.resets_at == gate.clock() + 12 * 3600
    assert gate.refused([key]).retry_after_s == 60
    gate.clock.pass_by(59.75)
    assert gate.refused([key]).retry_after_s == 0.25
    gate.clock.pass_by(0.25)
    gate.reserve([key])


def test_what_waiting_cannot_cure_is_told_before_everything_else(gate: Gate):
    key = scope(daily=1, max_requests=1)
    gate.reserve(key)
    refusal = gate.refused(key)
    assert (refusal.limit_kind, refusal.retry_after_s) == ("max_requests", None)


@pytest.mark.parametrize(
    "limits,ask,said",
    [
        ({"tpm": 100}, Ask(tokens=101), "This request needs 101, more than the 100 tokens per minute on key '1'."),
        ({"daily": 3}, Ask(requests=4), "This request needs 4, more than the 3 requests per day on key '1'."),
        (
            {"budget": USD},
            Ask(cost=USD + 1, bounded=True),
            "This request may cost 1.000000000001 USD, more than the budget of 1.00 USD on key '1'.",
        ),
    ],
)
def test_a_request_larger_than_the_whole_limit_is_told_so_and_no_time(gate: Gate, limits, ask: Ask, said: str):
    refusal = gate.refused(scope(**limits), ask)
    assert refusal.retry_after_s is None
    resets = "It resets at 2026-06-02T00:00:00Z, but this request has no room even then."
    assert refusal.explanation == f"{said} {resets if 'daily' in limits else 'Waiting does not help.'}"
    gate.reserve(scope(**limits), Ask(tokens=1))


def test_limits_of_nothing_let_nothing_through(gate: Gate):
    for limits in ({"rpm": 0}, {"rps": 0}, {"parallel": 0}, {"daily": 0}, {"max_requests": 0}, {"budget": 0}):
        assert gate.refused(scope("key", str(limits), **limits)).retry_after_s is None


def test_scopes_without_limits_let_everything_through(gate: Gate):
    for _ in range(50):
        gate.reserve([scope(), scope("project")], Ask(tokens=10**9, cost=10**18)).settle()


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_changed_limit_counts_at_once(gate: Gate, kind: str):
    limits, ask = EVERY_KIND[kind]

    def limit(factor: float) -> dict[str, Any]:
        return {name: int(value * factor) for name, value in limits.items()}

    for _ in range(2):
        gate.reserve(scope(**limits), Ask(**ask))
    gate.refused(scope(**limits), Ask(**ask))
    gate.reserve(scope(**limit(1.5)), Ask(**ask))
    gate.refused(scope(**limit(0.5)), Ask(**ask))
    gate.refused(scope(**limit(1.5)), Ask(**ask))
    gate.reserve(scope(), Ask(**ask))


def test_a_limit_that_is_set_back_to_what_it_was_counts_at_once(gate: Gate):
    wide, narrow, wider = scope(parallel=3), scope(parallel=1), scope(parallel=5)
    gate.reserve(wide)
    for _ in range(2):
        gate.refused(narrow)
        gate.reserve(wider).settle()
        gate.reserve(wide).settle()
    gate.refused(narrow)


def test_settling_gives_back_what_was_not_used_and_once_only(gate: Gate):
    key = scope(tpm=100, parallel=2, daily=10, max_requests=10, budget=10 * USD)
    one = gate.reserve(key, Ask(tokens=60, cost=6 * USD))
    two = gate.reserve(key, Ask(tokens=40, cost=3 * USD))
    for _ in range(3):
        gate.settle(one, 10, USD)
    assert gate.refused(key, Ask(tokens=51)).limit_kind == "tpm"
    last = gate.reserve(key, Ask(tokens=50))
    assert gate.refused(key).limit_kind == "parallel"
    budget = last.statuses.budget
    assert budget is not None
    # None of them named an output limit, so each that runs is taken for as dear as the dearest was.
    assert (budget.spent, budget.reserved) == (USD, 3 * USD)
    gate.settle(two)
    gate.settle(last)
    final = gate.reserve(key, Ask(tokens=90)).statuses
    assert final.budget is not None
    assert (final.budget.spent, final.tokens.remaining if final.tokens else None) == (USD, 0)


def test_tokens_beyond_the_estimate_count_from_when_they_are_known(gate: Gate):
    key = scope(tpm=100)
    reservation = gate.reserve(key, Ask(tokens=10))
    gate.clock.pass_by(50)
    gate.settle(reservation, 110)
    assert gate.refused(key, Ask(tokens=1)).retry_after_s == 60
    gate.clock.pass_by(59)
    gate.refused(key, Ask(tokens=1))
    gate.clock.pass_by(1)
    gate.reserve(key, Ask(tokens=100))


def test_a_batch_takes_its_size_of_the_daily_quota_all_or_nothing_and_hits_are_free(gate: Gate):
    key = scope(daily=10, max_requests=100, rpm=100)
    gate.reserve(key, Ask(requests=8))
    assert gate.refused(key, Ask(requests=3)).retry_after_s == 12 * 3600
    hit = gate.reserve(key, Ask(requests=2))
    gate.refused(key)
    gate.reserve(key, Ask(requests=0))
    gate.settle(hit, requests=0)
    gate.reserve(key, Ask(requests=2))
    gate.refused(key)


def test_the_standings_are_of_the_scope_that_has_the_least_left(gate: Gate):
    scopes = [scope(rpm=10, tpm=1000, budget=3 * USD), scope("project", rpm=4, tpm=5000, budget=9 * USD)]
    gate.reserve(scopes, Ask(tokens=100, cost=USD, bounded=True))
    gate.clock.pass_by(20)
    statuses = gate.reserve(scopes, Ask(tokens=100, cost=USD, bounded=True)).statuses
    assert statuses.requests == (4, 2, 60)
    assert statuses.tokens == (1000, 800, 60)
    assert statuses.budget is not None
    assert (statuses.budget.budget, statuses.budget.remaining, statuses.budget.resets_at) == (3 * USD, USD, None)
    refusal = gate.refused(scopes, Ask(tokens=900))
    assert refusal.statuses.tokens == (1000, 800, 60)


def test_bursts_fill_up_again_at_the_rate(gate: Gate):
    key = scope(rps=2, burst=5)
    for _ in range(5):
        gate.reserve(key)
    assert gate.refused(key).retry_after_s == 0.5
    gate.clock.pass_by(0.5)
    gate.reserve(key)
    assert gate.refused(key).retry_after_s == 0.5
    gate.clock.pass_by(100)
    for _ in range(5):
        gate.reserve(key)
    gate.refused(key)


def test_a_restart_goes_on_from_the_ledger(gate: Gate):
    key = scope(daily=5, max_requests=10, budget=10 * USD, period="month")
    gate.ledger["key", "1"] = Baseline(spent_picousd=9 * USD, requests_total=7, requests_today=3)
    reservation = gate.reserve(key, Ask(cost=USD, bounded=True))
    assert reservation.statuses.budget is not None
    assert reservation.statuses.budget.remaining == 0
    gate.settle(reservation, cost=USD)
    assert gate.refused(key, Ask(cost=0)).limit_kind == "budget"
    gate.ledger["key", "1"] = Baseline(spent_picousd=USD, requests_total=8, requests_today=4)
    gate.restart()
    assert gate.refused(key, Ask(requests=2)).limit_kind == "daily"
    assert gate.refused(key, Ask(requests=3)).limit_kind == "max_requests"
    gate.reserve(key)


def test_a_baseline_that_comes_second_changes_nothing(gate: Gate):
    key = scope(daily=5, max_requests=5, budget=5 * USD)
    gate.reserve(key, Ask(cost=USD, bounded=True))
    [need] = gate.asked
    assert (need.period, need.since, need.day) == ("total", 0, 1_780_272_000)
    gate.load(need, Baseline(5 * USD, 5, 5))
    gate.reserve(key, Ask(cost=USD, bounded=True))


def test_reconciling_raises_and_never_lowers(gate: Gate):
    key = scope(daily=5, max_requests=9, budget=5 * USD)
    gate.settle(gate.reserve(key, Ask(cost=USD, bounded=True)), cost=USD)
    [need] = gate.asked
    gate.raise_to(need, Baseline(0, 0, 0))
    gate.raise_to(need, Baseline(4 * USD, 3, 3))
    gate.raise_to(need, Baseline(2 * USD, 0, 0))
    reservation = gate.reserve(key, Ask(cost=USD, bounded=True, requests=2))
    assert reservation.statuses.budget is not None
    assert reservation.statuses.budget.spent == 4 * USD
    gate.settle(reservation, cost=0)
    assert gate.refused(key).limit_kind == "daily"


def test_reconciling_what_is_not_known_or_of_another_period_does_nothing(gate: Gate):
    key = scope(budget=5 * USD, period="day")
    gate.reserve(key)
    [need] = gate.asked
    gate.raise_to(type(need)("key", "2", "day", "UTC", need.since, need.day), Baseline(9 * USD))
    gate.raise_to(type(need)("key", "1", "day", "UTC", need.since - 86400, need.day), Baseline(9 * USD))
    gate.raise_to(type(need)("key", "1", "month", "UTC", need.since, need.day), Baseline(9 * USD))
    gate.reserve(key)
