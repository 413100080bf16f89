"""The short way gives the same answers as asking every counter, one by one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from keys.limits import Ask, Baseline, LimitExceeded, Limits, MemoryLimits, Scope, Unknown
from keys.limits.lane import Lane
from tests.limits.making import Clock


class Asked:
    """One backend, with what it said to everything."""

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, lanes: bool) -> None:
        self.crossings: list[Any] = []
        self.limits = MemoryLimits(clock=clock, on_crossing=self.crossings.append)
        self.monkeypatch, self.lanes, self.clock = monkeypatch, lanes, clock
        self.held: dict[int, Any] = {}

    def reserve(self, number: int, scopes: list[Scope], ask: Ask) -> Any:
        with self.monkeypatch.context() as patch:
            if not self.lanes:
                patch.setattr("keys.limits.memory.open_lane", lambda *_: None)
            while True:
                try:
                    held = self.held[number] = self.limits.reserve(scopes, ask, self.clock())
                    return ("held", held.rates)
                except Unknown as unknown:
                    for need in unknown.needs:
                        self.limits.load(need, Baseline(3, 2, 1))
                except LimitExceeded as refusal:
                    return ("refused", refusal.scope, refusal.refusal, refusal.standings)


def some_limits(draw: random.Random) -> Limits:
    def some(most: int) -> int | None:
        return draw.choice([None, draw.randint(1, most)])

    rps = some(30)
    return Limits(
        *(some(60), some(600), rps, some(40) if rps else None, some(12), some(200), some(400), some(2_000)),
        draw.choice(["total", "day", "month"]),
    )


@pytest.mark.parametrize("seed", range(150))
def test_lanes_and_counters_say_the_same(monkeypatch: pytest.MonkeyPatch, seed: int):
    draw, clock = random.Random(seed), Clock()
    both = [Asked(clock, monkeypatch, lanes=True), Asked(clock, monkeypatch, lanes=False)]
    names = [("key", "1"), ("key", "2"), ("team", "1"), ("global", "1")]
    scopes = {name: Scope(*name, name[0], some_limits(draw)) for name in names}
    asks: dict[int, tuple[list[Scope], Ask]] = {}
    for step in range(400):
        clock.pass_by(draw.choice([0, 0.000001, 0.001, 0.01, 0.05, 0.1, 0.4, 2]))
        what = draw.random()
        if what < 0.55 or not asks:
            # One key or the other, so that some scopes have lanes and others have none.
            asked = [scopes[draw.choice(names[:2])], *(scopes[name] for name in names[2:])]
            ask = Ask(draw.choice([1] * 9 + [0, 2]), draw.randint(0, 9), draw.randint(0, 9), draw.random() < 0.5)
            answers = [one.reserve(step, asked, ask) for one in both]
            assert answers[0] == answers[1], step
            if answers[0][0] == "held":
                asks[step] = asked, ask
        elif what < 0.96:
            number = draw.choice(list(asks))
            _, ask = asks.pop(number)
            cost = draw.randint(0, ask.cost or 0) if ask.bounded else draw.randint(0, 15)
            used = (draw.randint(0, 15), cost, draw.choice([None, 1, 1, 1, ask.requests, 0]))
            for one in both:
                one.held.pop(number).settle(*used)
        elif what < 0.98:
            name = draw.choice(names)
            scopes[name] = Scope(*name, name[0], some_limits(draw))
        elif asks:
            standings = [one.held[next(reversed(asks))].standings for one in both]
            assert standings[0] == standings[1], step
        assert both[0].crossings == both[1].crossings, step


def test_what_is_asked_for_often_has_a_lane():
    """Else nothing above was tested."""
    clock = Clock()
    limits, key = MemoryLimits(clock=clock), Scope("key", "1", "", Limits(rpm=100, tpm=1000, parallel=10))
    for _ in range(3):
        held = limits.reserve([key], Ask(tokens=3), clock())
        clock.pass_by(0.01)
    assert isinstance(held._parts[0], Lane)
    assert held.rates.requests == (100, 97, 60)
    assert held.rates == (*held.standings[:2], None)


def test_after_a_quiet_minute_nothing_is_left_of_a_lane():
    clock = Clock()
    limits, key = MemoryLimits(clock=clock), Scope("key", "1", "", Limits(rpm=3, tpm=100))
    for _ in range(3):
        limits.reserve([key], Ask(tokens=3), clock()).settle(30)
        clock.pass_by(0.01)
    with pytest.raises(LimitExceeded):
        limits.reserve([key], Ask(tokens=3), clock())
    clock.pass_by(61)
    held = limits.reserve([key], Ask(tokens=3), clock())
    assert (held.rates.requests, held.rates.tokens) == ((3, 2, 60), (100, 97, 60))
