"""Both backends of limits, in the process and in Redis, behind one interface, so that a test can run with both."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from keys.limits import Ask, Baseline, CrossedThreshold, LimitExceeded, MemoryLimits, Need, Reservation, Scope, Unknown
from keys.limits.connection import connect
from keys.limits.redis import RedisLimits
from tests.kit.scopes import Clock

_serial = count()


class Gate:
    """The backend in the process, with a clock that tests set. `ledger` has the baselines; all others are zero."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.thresholds: list[CrossedThreshold] = []
        self.ledger: dict[tuple[str, str], Baseline] = {}
        self.asked: list[Need] = []
        self.start()

    def start(self) -> None:
        self.limits = MemoryLimits(clock=self.clock, on_threshold=self.thresholds.append)

    restart = start

    def close(self) -> None:
        pass

    def reserve(self, scopes: Scope | list[Scope], ask: Ask = Ask(), *, loads: bool = True) -> Reservation:  # noqa: B008 (frozen)
        scopes = scopes if isinstance(scopes, list) else [scopes]
        try:
            return self.try_once(scopes, ask)
        except Unknown as unknown:
            if not loads:
                raise
            for need in unknown.needs:
                self.asked.append(need)
                self.load(need, self.ledger.get((need.kind, need.id), Baseline()))
            return self.reserve(scopes, ask)

    def refused(self, scopes: Scope | list[Scope], ask: Ask = Ask()) -> LimitExceeded:  # noqa: B008 (frozen)
        with pytest.raises(LimitExceeded) as caught:
            self.reserve(scopes, ask)
        return caught.value

    def try_once(self, scopes: list[Scope], ask: Ask) -> Reservation:
        return self.limits.reserve_at_once(tuple(scopes), ask, self.clock())

    def load(self, need: Need, baseline: Baseline) -> None:
        self.limits.load(need, baseline)

    def raise_to(self, need: Need, baseline: Baseline) -> None:
        self.limits.raise_to(need, baseline)

    def settle(
        self, reservation: Reservation, tokens: int = 0, cost: int | None = 0, requests: int | None = None
    ) -> None:
        reservation.settle(tokens, cost, requests)


class RedisGate(Gate):
    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.url = url
        self.prefix = f"{{gate {next(_serial)}}}:"
        super().__init__()

    def start(self) -> None:
        self.client = connect(self.url)
        self.shared = RedisLimits(
            self.client, prefix=self.prefix, clock=self.clock, timeout_s=10, on_threshold=self.thresholds.append
        )
        self.do(self.shared.start())

    def restart(self) -> None:
        """Begin again as a new process, with a Redis that has lost everything."""
        self.close_client()
        self.prefix = f"{{gate {next(_serial)}}}:"
        self.start()

    def close(self) -> None:
        self.close_client()
        self.loop.close()

    def close_client(self) -> None:
        self.do(self.shared.close())
        self.do(self.client.aclose())

    def do(self, awaited):
        return self.loop.run_until_complete(awaited)

    def try_once(self, scopes: list[Scope], ask: Ask) -> Reservation:
        return self.do(self.shared.reserve(tuple(scopes), ask, self.clock()))

    def load(self, need: Need, baseline: Baseline) -> None:
        self.shared.load(need, baseline)
        self.do(self.shared.drain())

    def raise_to(self, need: Need, baseline: Baseline) -> None:
        self.shared.raise_to(need, baseline)
        self.do(self.shared.drain())

    def settle(
        self, reservation: Reservation, tokens: int = 0, cost: int | None = 0, requests: int | None = None
    ) -> None:
        reservation.settle(tokens, cost, requests)
        self.do(self.shared.drain())
