"""The reservation of a request in this process, until it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from keys.limits.base import Ask, CrossedThreshold, LimitStatuses, Rates, Used
from keys.limits.counters import Counter
from keys.limits.fast_path import FastPath, ScopeCounters
from keys.limits.scope import Scopes
from keys.limits.state import ScopeState


class Backend(Protocol):
    """What a reservation needs of the backend that made it."""

    adoptions: int

    def now_us(self) -> int: ...

    def statuses_of(self, scopes: Scopes, now: int) -> LimitStatuses: ...

    def threshold_crossed(self, threshold: CrossedThreshold) -> None: ...

    def charge_new_budgets(self, scopes: Scopes, reserved: Sequence[Counter | None], cost: int, at: int) -> None: ...


class OneByOne(NamedTuple):
    """The counters of a scope that a request took from one by one, and what `take` of each returned."""

    state: ScopeState
    counters: tuple[Counter, ...]
    marks: list[Any]


class MemoryReservation(msgspec.Struct, eq=False):
    """What one request has reserved, in each scope either through its fast path or from its counters.

    One is made for each request, so it is a struct: three times as fast to make as an ordinary object.
    """

    backend: Backend
    scopes: Scopes
    ask: Ask
    at: int
    fast_paths: Sequence[FastPath]
    counted: Sequence[OneByOne]
    rates: Rates
    """As of the reservation."""
    adoptions: int
    """The backend's `adoptions` at the reservation."""
    has_ended: bool = False

    @property
    def statuses(self) -> LimitStatuses:
        """The counters as they are now. It is computed only when asked for, because most requests do not need it."""
        return self.backend.statuses_of(self.scopes, self.at)

    def settle(self, tokens: int = 0, cost: int | None = 0, requests: int | None = None) -> None:
        if self.has_ended:
            return
        self.has_ended = True
        backend = self.backend
        now, cost = backend.now_us(), cost or 0
        ask = self.ask
        reserved_cost, bounded = ask.cost or 0, ask.bounded
        back = ask.tokens - tokens
        one = requests is None or requests == 1
        for fast_path in self.fast_paths:
            if now < fast_path.until and one and cost <= fast_path.quiet and (bounded or cost <= fast_path.dearest):
                fast_path.free += 1
                fast_path.tokens += back
                if back < 0:
                    fast_path.more_at = now
                fast_path.ended_at = now
                fast_path.money -= cost
                fast_path.quiet -= cost
                fast_path.spent += cost
                if bounded:
                    fast_path.bounded -= reserved_cost
                else:
                    fast_path.open -= reserved_cost
                    fast_path.open_count -= 1
            else:
                self._settle_late(fast_path.state, fast_path, Used(tokens, cost, requests, now))
        for counted in self.counted:
            self._settle_late(counted.state, counted, Used(tokens, cost, requests, now))
        if cost and self.adoptions != backend.adoptions:
            backend.charge_new_budgets(self.scopes, self._budgets(), cost, self.at)

    def _settle_late(self, state: ScopeCounters, part: FastPath | OneByOne, used: Used) -> None:
        """Settle in the counters. The scope's current fast path stays open, unless this usage is more than it bears."""
        ask = self.ask
        current = state.fast_path
        if current is not None and (current is part or not current.bears(used, ask)):
            state.close_fast_path()
            current = None
        threshold: CrossedThreshold | None = None
        if isinstance(part, FastPath):
            part.close()
            threshold = part.settle_late(used, ask, self.at)
        else:
            for counter, mark in zip(part.counters, part.marks, strict=True):
                if mark is not None:
                    threshold = counter.settle(mark, used) or threshold
        if current is not None:
            current.ended_elsewhere(used, ask)
        if threshold is not None:
            self.backend.threshold_crossed(threshold)

    def _budgets(self) -> list[Counter | None]:
        """The counters from which the request has reserved, budgets among them. None: a fast path without a budget."""
        budgets: list[Counter | None] = [fast_path.budget for fast_path in self.fast_paths]
        for counted in self.counted:
            budgets += counted.counters
        return budgets
