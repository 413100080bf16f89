"""What a refused client is told (F103, P7)."""

from __future__ import annotations

import pytest

from keys.limits import Ask, Baseline
from keys.limits.refusal import usd
from tests.kit.gates import Gate
from tests.kit.scopes import USD, scope


@pytest.mark.parametrize(
    "limits,ask,said",
    [
        (
            {"rpm": 1},
            Ask(),
            "1 requests per minute on key 'a'; 1 used, 1 asked for. Try again in 60 s.",
        ),
        (
            {"tpm": 10},
            Ask(tokens=6),
            "10 tokens per minute on key 'a'; 6 used, 6 asked for. Try again in 60 s.",
        ),
        (
            {"rps": 1},
            Ask(),
            "1 requests per second on key 'a'; 1 used, 1 asked for. Try again in 1 s.",
        ),
        (
            {"parallel": 1},
            Ask(),
            "1 requests at once on key 'a'; 1 used, 1 asked for. Try again when one of them has ended.",
        ),
        (
            {"daily": 1},
            Ask(),
            "1 requests per day on key 'a'; 1 used, 1 asked for. It resets at 2026-06-02T00:00:00Z.",
        ),
        (
            {"max_requests": 1},
            Ask(),
            "Quota used up: 1 requests in all on key 'a'; 1 used, 1 asked for. Waiting does not help.",
        ),
    ],
)
def test_a_refusal_names_limit_scope_and_cure(gate: Gate, limits, ask: Ask, said: str):
    key = scope("key", "a", **limits)
    gate.reserve(key, ask)
    head = "" if "max_requests" in limits else "Rate limit reached: "
    assert gate.refused(key, ask).explanation == head + said


@pytest.mark.parametrize(
    "spent,period,ask,said",
    [
        (
            10 * USD,
            "month",
            Ask(cost=0),
            "Budget reached: 10.00 of 10.00 USD are spent on key 'a'. It resets at 2026-07-01T00:00:00Z.",
        ),
        (
            9 * USD + USD // 2,
            "total",
            Ask(cost=USD, bounded=True),
            "Budget reached: 9.50 of 10.00 USD are spent on key 'a', and this request may cost 1.00 USD. "
            "Waiting does not help.",
        ),
    ],
)
def test_a_budget_says_what_is_spent_and_when_it_resets(gate: Gate, spent: int, period: str, ask: Ask, said: str):
    gate.ledger["key", "a"] = Baseline(spent_picousd=spent)
    refusal = gate.refused(scope("key", "a", budget=10 * USD, period=period), ask)
    assert refusal.explanation == said
    assert (refusal.code, refusal.spent, refusal.limit) == ("insufficient_quota", spent, 10 * USD)


@pytest.mark.parametrize(
    "picousd,written",
    [(0, "0.00"), (USD, "1.00"), (USD // 10, "0.10"), (1, "0.000000000001"), (50_000 * USD + 1, "50000.000000000001")],
)
def test_amounts_are_written_exactly(picousd: int, written: str):
    assert usd(picousd) == written


def test_what_waits_for_others_to_end_is_not_told_that_it_is_too_dear(gate: Gate):
    """Its largest cost is a guess: it runs when nothing else does."""
    key, ask = scope("key", "a", budget=10 * USD), Ask(cost=16 * USD)
    gate.reserve(key, ask)
    assert gate.refused(key, ask).explanation == (
        "Budget reached: 0.00 of 10.00 USD are spent on key 'a', 16.00 USD reserved by running requests. "
        "Try again when one of them has ended."
    )
