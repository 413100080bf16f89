"""Money that holds (P1, P5, P6, F104), in this process and in Redis."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keys.limits import Ask, Baseline, LimitExceeded, MemoryLimits, Reservation, Unknown
from keys.limits.counters.budget import threshold_of
from keys.limits.scope import Limits
from tests.kit.gates import Gate
from tests.kit.scopes import NOON, USD, scope


def bounded(cost: int) -> Ask:
    return Ask(cost=cost, bounded=True)


@pytest.mark.parametrize(
    "spent,ask,admitted",
    [
        (9, bounded(1), True),
        (9, bounded(2), False),
        (10, bounded(0), False),
        (10, Ask(cost=0), False),
        (10, Ask(cost=None), False),
        (11, Ask(cost=0), False),
        (9, bounded(0), True),
        (9, Ask(cost=0), True),
        (9, Ask(cost=None), True),
        (9, Ask(cost=100), True),  # what it will cost is not known, and there is something left
        (0, bounded(10), True),
        (0, bounded(11), False),
    ],
)
def test_a_budget_exactly_reached_blocks(gate: Gate, spent: int, ask: Ask, admitted: bool):
    gate.ledger["key", "1"] = Baseline(spent_picousd=spent)
    if admitted:
        gate.reserve(scope(budget=10), ask)
    else:
        assert gate.refused(scope(budget=10), ask).limit_kind == "budget"


def test_requests_that_cost_nothing_still_count_as_requests(gate: Gate):
    key = scope(budget=10, rpm=2, max_requests=9)
    for _ in range(2):
        gate.settle(gate.reserve(key, Ask(cost=0)))
    assert gate.refused(key, Ask(cost=0)).limit_kind == "rpm"


def test_running_requests_hold_their_money_until_they_are_settled(gate: Gate):
    key = scope(budget=10 * USD)
    running = [gate.reserve(key, bounded(USD)) for _ in range(10)]
    refusal = gate.refused(key, bounded(USD))
    assert (refusal.spent, refusal.used, refusal.retry_after_s) == (0, 10 * USD, 1)
    assert "10.00 USD reserved by running requests" in refusal.explanation
    for reservation in running:
        gate.settle(reservation, cost=USD // 2)
    for _ in range(5):
        gate.reserve(key, bounded(USD))
    gate.refused(key, bounded(USD))


def test_requests_whose_price_nobody_can_know_run_one_by_one_near_the_end(gate: Gate):
    """They looked cheap. After the first was dear, each that runs is taken for as dear (P1)."""
    key = scope(budget=10 * USD)
    gate.settle(gate.reserve(key, Ask(cost=1)), cost=4 * USD)
    running = [gate.reserve(key, Ask(cost=1)) for _ in range(2)]
    assert gate.refused(key, Ask(cost=1)).retry_after_s == 1
    for reservation in running:
        gate.settle(reservation, cost=4 * USD)
    assert gate.refused(key, Ask(cost=1)).spent == 12 * USD


def test_fifty_thousand_dollars_are_exact_to_the_picodollar(gate: Gate):
    """2^53 picodollars are 9,007 USD: a double cannot count what Redis' Lua has to count here."""
    budget = 50_000 * USD
    gate.ledger["key", "1"] = Baseline(spent_picousd=budget - 3)
    key = scope(budget=budget)
    gate.settle(gate.reserve(key, bounded(2)), cost=2)
    assert gate.refused(key, bounded(2)).spent == budget - 1
    reservation = gate.reserve(key, bounded(1))
    assert reservation.statuses.budget is not None
    assert (reservation.statuses.budget.spent, reservation.statuses.budget.reserved) == (budget - 1, 1)
    gate.settle(reservation, cost=1)
    assert gate.refused(key, Ask(cost=0)).spent == budget


def test_large_sums_of_small_amounts_are_exact(gate: Gate):
    key = scope(budget=10**6 * USD)
    gate.ledger["key", "1"] = Baseline(spent_picousd=123_456 * USD + 999_999_999_999)
    total = 123_456 * USD + 999_999_999_999
    for cost in (1, 999_999_999_999, 3, 12_345 * USD + 7, 333_333_333_333, 2**53 + 1):
        gate.settle(gate.reserve(key, bounded(cost)), cost=cost)
        total += cost
    statuses = gate.reserve(key, bounded(0)).statuses
    assert statuses.budget is not None
    assert statuses.budget.spent == total


@pytest.mark.parametrize(
    "period,resets",
    [("day", 86400 / 2), ("week", 86400 * 6.5), ("month", 86400 * 29.5)],
)
def test_a_period_begins_anew_at_its_boundary_and_not_before(gate: Gate, period: str, resets: float):
    key = scope(budget=10, period=period)
    gate.settle(gate.reserve(key, bounded(10)), cost=10)
    refusal = gate.refused(key)
    assert (refusal.retry_after_s, refusal.resets_at) == (resets, NOON + resets)
    gate.clock.pass_by(resets - 1e-6)
    gate.refused(key)
    gate.clock.pass_by(1e-6)
    gate.reserve(key, bounded(10))
    assert len(gate.asked) == 1  # who saw the last period knows that the new one begins at nothing


def test_after_many_periods_without_a_request_it_begins_anew_once(gate: Gate):
    key = scope(budget=10, period="day")
    gate.settle(gate.reserve(key, bounded(10)), cost=10)
    gate.clock.pass_by(86400 * 9)
    gate.settle(gate.reserve(key, bounded(7)), cost=7)
    gate.clock.pass_by(3600)
    assert gate.refused(key, bounded(4)).spent == 7


def test_what_began_in_the_last_period_is_of_that_period(gate: Gate):
    key = scope(budget=10, period="day")
    reservation = gate.reserve(key, bounded(10))
    gate.clock.pass_by(86400 / 2)
    new = gate.reserve(key, bounded(10))
    gate.settle(reservation, cost=10)
    assert gate.refused(key, bounded(1)).spent == 0
    gate.settle(new, cost=3)
    gate.reserve(key, bounded(7))


def test_another_kind_of_period_is_asked_from_the_ledger(gate: Gate):
    gate.settle(gate.reserve(scope(budget=10, period="day"), bounded(4)), cost=4)
    gate.ledger["key", "1"] = Baseline(spent_picousd=9)
    running = gate.reserve(scope(budget=10, period="day"), bounded(6))
    assert gate.refused(scope(budget=10, period="month"), bounded(2)).spent == 9
    assert [(need.period, need.since) for need in gate.asked] == [("day", 1_780_272_000), ("month", 1_780_272_000)]
    gate.settle(running, cost=1)
    assert gate.refused(scope(budget=10, period="month")).spent == 10


def test_a_budget_lowered_below_what_is_spent_blocks_and_raised_goes_on(gate: Gate):
    gate.settle(gate.reserve(scope(budget=10), bounded(8)), cost=8)
    assert gate.refused(scope(budget=5)).spent == 8
    gate.reserve(scope(budget=9), bounded(1))


def test_the_settlement_that_passes_the_soft_threshold_says_so(gate: Gate):
    key = scope(budget=10 * USD, period="month", soft_threshold=0.8)
    for cost in (7, 1, 1):
        gate.settle(gate.reserve(key, bounded(2 * USD)), cost=cost * USD)
    [threshold] = gate.thresholds
    assert (threshold.kind, threshold.id, threshold.budget, threshold.spent) == ("key", "1", 10 * USD, 8 * USD)
    assert (threshold.period, threshold.since) == ("month", 1_780_272_000)
    gate.clock.pass_by(86400 * 30)
    gate.settle(gate.reserve(key, bounded(9 * USD)), cost=9 * USD)
    assert len(gate.thresholds) == 2


def test_what_the_ledger_adds_can_pass_the_soft_threshold_too(gate: Gate):
    gate.settle(gate.reserve(scope(budget=10), bounded(1)), cost=1)
    gate.raise_to(gate.asked[0], Baseline(spent_picousd=9))
    assert [threshold.spent for threshold in gate.thresholds] == [9]


@given(
    budget=st.integers(1, 60),
    steps=st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 7)), max_size=60),
)
@settings(suppress_health_check=list(HealthCheck), deadline=None)
def test_no_order_of_events_spends_past_the_budget_and_one_request(budget: int, steps: list[tuple[int, bool, int]]):
    """P1: with output limits never past B; without, and with estimates that are not too low, never past B + e."""
    limits, key = MemoryLimits(clock=lambda: NOON), scope(budget=budget)
    running: list[tuple[Reservation, Ask]] = []
    spent = dearest_open = 0
    for cost, is_bounded, end in steps:
        ask = Ask(cost=cost, bounded=is_bounded)
        try:
            running.append((limits.reserve_at_once((key,), ask, NOON), ask))
        except Unknown as unknown:
            limits.load(unknown.needs[0], Baseline())
        except LimitExceeded:
            pass
        for reservation, held_ask in running[:end:2]:
            reservation.settle(0, held_ask.cost)
            spent += held_ask.cost or 0
            dearest_open = max(dearest_open, 0 if held_ask.bounded else held_ask.cost or 0)
        running = running[1:end:2] + running[end:]
    for reservation, ask in running:
        reservation.settle(0, ask.cost)
        spent += ask.cost or 0
        dearest_open = max(dearest_open, 0 if ask.bounded else ask.cost or 0)
    assert spent <= budget + dearest_open


def test_a_budget_that_is_set_while_a_request_runs_has_what_the_request_costs_and_others_have_it_once(gate: Gate):
    project = scope("project", budget=100)
    running = gate.reserve([scope(parallel=9), project], bounded(9))
    key = scope(parallel=9, budget=10)
    gate.settle(gate.reserve([key, project], bounded(0)))
    gate.settle(running, cost=9)
    assert gate.refused([key, project], bounded(2)).spent == 9
    statuses = gate.reserve(project, bounded(0)).statuses
    assert statuses.budget is not None
    assert statuses.budget.spent == 9


@pytest.mark.parametrize(
    "budget, share, threshold",
    [(9_007_199_254_740_993, 1.0, 9_007_199_254_740_993), (10**18 + 7, 0.8, 800_000_000_000_000_005), (10, 0.05, 0)],
)
def test_a_soft_threshold_is_exact_where_a_float_is_not(budget: int, share: float, threshold: int):
    assert threshold_of(Limits(budget=budget, soft_threshold=share)) == threshold
