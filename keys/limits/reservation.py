"""What a request has taken in this process, until it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from keys.limits.base import Ask, CrossedThreshold, LimitStatuses, Rates, Used
from keys.limits.counters import Counter
from keys.limits.joint import joined, parts_of
from keys.limits.lane import Lane
from keys.limits.scope import Scope
from keys.limits.state import ScopeState

if TYPE_CHECKING:
    from keys.limits.memory import MemoryLimits


class Counted(NamedTuple):
    """What was taken of a scope's counters, one by one, and what each of them gave for it."""

    state: ScopeState
    counters: tuple[Counter, ...]
    marks: list[Any]


class MemoryReservation(msgspec.Struct, eq=False):
    """Of each scope something was taken either in its lane or from its counters.

    A struct, because one is made for each request: three times as fast as a class of Python's.
    """

    backend: MemoryLimits
    scopes: Sequence[Scope]
    ask: Ask
    at: int
    lanes: Sequence[Lane]
    counted: Sequence[Counted]
    rates: Rates
    """As of the reservation."""
    adoptions: int
    """The backend's, then."""
    has_ended: bool = False

    @property
    def statuses(self) -> LimitStatuses:
        """As of now: it is worked out when it is asked for, since most requests never do."""
        return self.backend.statuses_of(self.scopes, self.at)

    def settle(self, tokens: int = 0, cost: int | None = 0, requests: int | None = None) -> None:
        if self.has_ended:
            return
        self.has_ended = True
        backend = self.backend
        now, cost = backend.now_us(), cost or 0
        ask = self.ask
        asked_cost, bounded = ask.cost or 0, ask.bounded
        back = ask.tokens - tokens
        one = requests is None or requests == 1
        for lane in joined(self.lanes):
            if lane.joint is not None:
                lane.joint.close()
            if now < lane.until and one and cost <= lane.quiet and (bounded or cost <= lane.dearest):
                lane.free += 1
                lane.tokens += back
                if back < 0:
                    lane.more_at = now
                lane.ended_at = now
                lane.money -= cost
                lane.quiet -= cost
                lane.spent += cost
                if bounded:
                    lane.bounded -= asked_cost
                else:
                    lane.open -= asked_cost
                    lane.open_count -= 1
            else:
                for part in parts_of(lane):
                    self._settle_late(part.state, part, Used(tokens, cost, requests, now))
        for counted in self.counted:
            self._settle_late(counted.state, counted, Used(tokens, cost, requests, now))
        if cost and self.adoptions != backend.adoptions:
            backend.charge_new_budgets(self.scopes, self._budgets(), cost, self.at)

    def _settle_late(self, state: ScopeState, part: Lane | Counted, used: Used) -> None:
        """By the counters. The lane that the scope has by now goes on, unless this is more than it can bear."""
        ask = self.ask
        current = state.own_lane()
        if current is not None and (current is part or not current.bears(used, ask)):
            state.close_lane()
            current = None
        threshold: CrossedThreshold | None = None
        if isinstance(part, Lane):
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
        """Those that it has reserved something of, among others."""
        found: list[Counter | None] = [part.budget for lane in self.lanes for part in parts_of(lane)]
        for counted in self.counted:
            found += counted.counters
        return found
