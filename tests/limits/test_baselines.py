"""What other processes spend reaches a process that counts by itself through the ledger, for as long as it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from django.db import OperationalError

from keys.limits import Ask, Baseline, MemoryLimits, Need, Scope, Unknown
from keys.limits.base import LimitsBackend
from proxy.admission import baselines as module
from proxy.admission.baselines import Baselines
from tests.kit.scopes import USD, Clock, scope

IDLE_S = 600
"""Counters are forgotten after five minutes."""


class Ledger:
    """Has spent as much of every scope; says when it was read."""

    def __init__(self) -> None:
        self.spent = 0
        self.reads: list[int] = []
        self.read = asyncio.Event()

    async def answer(self, reading: Callable[[], list[Baseline]]) -> list[Baseline]:
        baselines = [Baseline(self.spent) for _ in reading()]
        self.reads.append(len(baselines))
        self.read.set()
        return baselines

    async def is_read(self, times: int = 1) -> None:
        for _ in range(times):
            self.read.clear()
            await self.read.wait()


class Shared(MemoryLimits):
    """Counts nothing by itself, as where Redis counts for all."""

    def raise_to(self, need: Need, baseline: Baseline) -> bool:
        super().raise_to(need, baseline)
        return False


@pytest.fixture(autouse=True)
def _totals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only how many were asked for counts here, and no scope is followed for longer than it is counted."""

    def read_totals(wanted: Sequence[object]) -> list[tuple[int, int, int]]:
        return [(0, 0, 0)] * len(wanted)

    monkeypatch.setattr(module, "read_totals", read_totals)
    monkeypatch.setattr(module, "FOLLOWED_S", 0.0)


async def use(limits: MemoryLimits, baselines: Baselines, key: Scope, clock: Clock) -> int:
    """One request that costs nothing. Returns what is spent."""
    try:
        reservation = limits.reserve_at_once((key,), Ask(cost=0), clock())
    except Unknown as unknown:
        await baselines.load(unknown.needs)
        reservation = limits.reserve_at_once((key,), Ask(cost=0), clock())
    reservation.settle(cost=0)
    assert reservation.statuses.budget is not None
    return reservation.statuses.budget.spent


def test_a_scope_is_followed_for_as_long_as_it_is_in_use():
    async def main() -> None:
        clock, ledger = Clock(), Ledger()
        limits, key = MemoryLimits(clock=clock), scope(budget=5 * USD)
        baselines = Baselines(limits, ledger.answer, again_every_s=0.01, clock=clock)
        assert await use(limits, baselines, key, clock) == 0
        for spent in (USD, 2 * USD):
            ledger.spent = spent
            await ledger.is_read(2)
            assert await use(limits, baselines, key, clock) == spent
        clock.pass_by(IDLE_S)
        await ledger.is_read()
        await asyncio.sleep(0)
        assert not baselines._followed, "nobody uses it any more"
        await baselines.stop()

    asyncio.run(main())


def test_a_new_period_takes_the_place_of_the_old_one():
    async def main() -> None:
        clock, ledger = Clock(), Ledger()
        limits, key = MemoryLimits(clock=clock), scope(budget=5 * USD, period="day")
        baselines = Baselines(limits, ledger.answer, again_every_s=0.01, clock=clock)
        ledger.spent = USD
        assert await use(limits, baselines, key, clock) == USD
        clock.pass_by(24 * 3600)
        ledger.spent = 0
        assert await use(limits, baselines, key, clock) == 0
        ledger.spent = 2 * USD
        await ledger.is_read(2)
        assert await use(limits, baselines, key, clock) == 2 * USD
        assert len(baselines._followed) == 1
        await baselines.stop()

    asyncio.run(main())


def test_more_scopes_than_are_read_at_a_time_take_turns(monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        clock, ledger = Clock(), Ledger()
        limits, keys = MemoryLimits(clock=clock), [scope(id_=str(number), budget=5 * USD) for number in range(7)]
        baselines = Baselines(limits, ledger.answer, again_every_s=0.01, clock=clock)
        for key in keys:
            await use(limits, baselines, key, clock)
        ledger.spent = USD
        await ledger.is_read(6)
        assert {await use(limits, baselines, key, clock) for key in keys} == {USD}
        assert max(ledger.reads[7:]) <= 2
        await baselines.stop()

    monkeypatch.setattr(module, "READ_AGAIN", 2)
    asyncio.run(main())


def test_where_redis_counts_for_all_it_is_followed_for_a_while_alone():
    async def main() -> None:
        clock, ledger = Clock(), Ledger()
        limits: LimitsBackend = Shared(clock=clock)
        assert isinstance(limits, MemoryLimits)
        baselines = Baselines(limits, ledger.answer, again_every_s=0.01, clock=clock)
        await use(limits, baselines, scope(budget=5 * USD), clock)
        await ledger.is_read()
        await asyncio.sleep(0)
        assert not baselines._followed
        await baselines.stop()

    asyncio.run(main())


def test_where_redis_counts_for_all_it_is_followed_until_that_while_is_over(monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        clock, ledger = Clock(), Ledger()
        limits, key = Shared(clock=clock), scope(budget=5 * USD)
        baselines = Baselines(limits, ledger.answer, again_every_s=0.01, clock=clock)
        await use(limits, baselines, key, clock)
        await ledger.is_read(2)
        ledger.spent = USD
        await ledger.is_read(2)
        assert await use(limits, baselines, key, clock) == USD
        await baselines.stop()

    monkeypatch.setattr(module, "FOLLOWED_S", 600.0)
    asyncio.run(main())


def test_a_ledger_that_does_not_answer_in_time_has_nothing_and_is_heard_later():
    async def main() -> None:
        answers = asyncio.Event()

        class Slow(Ledger):
            async def answer(self, reading: Callable[[], list[Baseline]]) -> list[Baseline]:
                await answers.wait()
                return await super().answer(reading)

        clock, ledger = Clock(), Slow()
        limits, keys = MemoryLimits(clock=clock), [scope(id_=str(number), budget=5 * USD) for number in range(2)]
        baselines = Baselines(limits, ledger.answer, again_every_s=0.01, clock=clock)
        with pytest.raises(Unknown) as unknown:
            limits.reserve_at_once(tuple(keys), Ask(), clock())
        await baselines.load(unknown.value.needs, timeout_s=0)
        assert [await use(limits, baselines, key, clock) for key in keys] == [0, 0]
        ledger.spent = USD
        answers.set()
        await ledger.is_read(3)
        assert [await use(limits, baselines, key, clock) for key in keys] == [USD, USD]
        await baselines.stop()

    asyncio.run(main())


@pytest.mark.parametrize("error", [OperationalError, ValueError])
def test_a_ledger_that_fails_has_nothing_and_is_heard_later(error: type[Exception]):
    async def main() -> None:
        class Failing(Ledger):
            fails = True

            async def answer(self, reading: Callable[[], list[Baseline]]) -> list[Baseline]:
                if self.fails:
                    self.read.set()
                    raise error
                return await super().answer(reading)

        clock, ledger = Clock(), Failing()
        limits, keys = MemoryLimits(clock=clock), [scope(id_=str(number), budget=5 * USD) for number in range(2)]
        baselines = Baselines(limits, ledger.answer, again_every_s=0.01, clock=clock)
        with pytest.raises(Unknown) as unknown:
            limits.reserve_at_once(tuple(keys), Ask(), clock())
        await baselines.load(unknown.value.needs)
        assert [await use(limits, baselines, key, clock) for key in keys] == [0, 0]
        ledger.spent, ledger.fails = USD, False
        await ledger.is_read(2)
        assert [await use(limits, baselines, key, clock) for key in keys] == [USD, USD]
        await baselines.stop()

    asyncio.run(main())
