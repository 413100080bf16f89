"""Money, in all or in a period.

A request is admitted if spent and reserved money is below the budget. If its cost is bounded, the bound must fit in,
too. So a budget that is exactly reached blocks everything, even what costs nothing (P5), and requests that name their
largest output never exceed it (P1).

What other requests will cost is not known. Each running one therefore counts as much as the dearest one settled in this
period: with k of them running, spent + (k - 1) * dearest is below the budget, so they exceed it by one request at most
(P1). Estimates alone would admit a hundred at once that look cheap.
"""

from __future__ import annotations

from keys.limits.base import DAY_US, SECOND_US, Ask, Baseline, BudgetStatus, CrossedThreshold, Need, Used
from keys.limits.counters.base import UNKNOWN, BaselineCounter
from keys.limits.counters.quota import KEPT_US
from keys.limits.periods import span_at
from keys.limits.refusal import IN_FLIGHT_WAIT_US, Cure, Refusal
from keys.limits.scope import Limits, Scope

NEVER_US = 1 << 62
MILLION = 1_000_000


def threshold_of(limits: Limits) -> int:
    """The soft threshold in picodollars. Its share of the budget is rounded to a millionth."""
    return (limits.budget or 0) * round(limits.soft_threshold * MILLION) // MILLION


class Budget(BaselineCounter):
    """What a request reserves and spends belongs to the period in which it was admitted."""

    __slots__ = (
        "bounded",
        "dearest",
        "end",
        "generation",
        "limit",
        "open",
        "open_count",
        "period",
        "running",
        "scope",
        "spent",
        "start",
        "threshold",
        "time_zone",
        "touched",
    )
    limit_kind = "budget"
    ends_with_request = True
    spent: int
    bounded: int
    open: int
    open_count: int
    dearest: int
    running: int
    start: int
    end: int

    def __init__(self) -> None:
        self.period = self.time_zone = ""
        self.generation = self.limit = self.threshold = self.touched = 0
        self._forget()

    def set(self, scope: Scope) -> None:
        limits = scope.limits
        self.scope = scope
        self.limit = limits.budget or 0
        self.threshold = threshold_of(limits)
        if (limits.period, limits.time_zone) != (self.period, self.time_zone):
            self.period, self.time_zone = limits.period, limits.time_zone
            self._forget()

    @property
    def reserved(self) -> int:
        return self.bounded + max(self.open, self.open_count * self.dearest)

    def check(self, ask: Ask, now: int) -> Refusal | None:
        if now >= self.end or now < self.start:
            self._turn(now)
        if not self.has_baseline:
            self.touched = now
            return UNKNOWN
        cost = ask.cost or 0
        committed = self.spent + self.bounded + max(self.open, self.open_count * self.dearest)
        if committed < self.limit and (committed + cost <= self.limit or not ask.bounded):
            return None
        return self._refusal(cost if ask.bounded else 0, cost, committed, now)

    def take(self, ask: Ask, now: int) -> tuple[int, int, int, bool]:
        cost = ask.cost or 0
        self.running += 1
        self.touched = now
        if ask.bounded:
            self.bounded += cost
        else:
            self.open += cost
            self.open_count += 1
        return self.generation, now, cost, ask.bounded

    def settle(self, mark: tuple[int, int, int, bool], used: Used) -> CrossedThreshold | None:
        generation, reserved_at, cost, bounded = mark
        self.touched = used.at_us
        if generation == self.generation:
            self.running -= 1
            if bounded:
                self.bounded -= cost
            else:
                self.open -= cost
                self.open_count -= 1
                if used.cost > self.dearest:
                    self.dearest = used.cost
            return self._spend(used.cost) if self.has_baseline else None
        return self.charge(used.cost, reserved_at)

    def charge(self, cost: int, reserved_at: int) -> CrossedThreshold | None:
        """Count the cost of a request that has reserved nothing here, because this counter is newer.

        A request that was admitted before this period does not count. Without a baseline nothing is counted, because
        the baseline will include it.
        """
        return self._spend(cost) if self.has_baseline and reserved_at >= self.start else None

    def idle(self, now: int) -> bool:
        return not self.running and not 0 <= now - self.touched < KEPT_US

    def load(self, need: Need, baseline: Baseline) -> None:
        if not self.has_baseline and self._is_of(need):
            self.spent, self.has_baseline = baseline.spent_picousd, True

    def raise_to(self, need: Need, baseline: Baseline) -> CrossedThreshold | None:
        if self.has_baseline and self._is_of(need) and baseline.spent_picousd > self.spent:
            return self._spend(baseline.spent_picousd - self.spent)
        return None

    def status(self) -> BudgetStatus:
        end = None if self.end == NEVER_US else self.end / SECOND_US
        return BudgetStatus(self.limit, self.spent, self.reserved, end)

    def _spend(self, cost: int) -> CrossedThreshold | None:
        before = self.spent
        self.spent += cost
        if before < self.threshold <= self.spent:
            scope = self.scope
            return CrossedThreshold(scope.kind, scope.id, self.limit, self.spent, self.period, self.start // SECOND_US)
        return None

    def _refusal(self, surely: int, cost: int, committed: int, now: int) -> Refusal:
        resets = None if self.end == NEVER_US else self.end
        cure: Cure
        if surely > self.limit or self.limit <= 0:
            cure, wait = "never", 0
        elif self.spent < self.limit and self.spent + surely <= self.limit:
            cure, wait = "others", IN_FLIGHT_WAIT_US
        elif resets is None:
            cure, wait = "never", 0
        else:
            cure, wait = "time", resets - now
        return Refusal("budget", self.limit, committed, cost, cure, wait, resets, self.spent)

    def _turn(self, now: int) -> None:
        """Begin a new period at nothing, however many passed. A clock set back a little does not bring one again."""
        if self.has_baseline and self.start - DAY_US <= now < self.start:
            return
        span = span_at(self.period, self.time_zone, now / SECOND_US)
        has_baseline = self.has_baseline and now >= self.end
        if self.start >= 0:
            self._forget()
        self.has_baseline = has_baseline
        self.start = span.start * SECOND_US
        self.end = NEVER_US if span.end is None else span.end * SECOND_US

    def _forget(self) -> None:
        """Count from nothing. Running requests will be settled as of an earlier generation."""
        self.generation += 1
        self.has_baseline = False
        self.spent = 0
        self.bounded = 0
        self.open = 0
        self.open_count = 0
        self.dearest = 0
        self.running = 0
        self.start = -1
        self.end = -1

    def _is_of(self, need: Need) -> bool:
        return (need.period, need.time_zone, need.since * SECOND_US) == (self.period, self.time_zone, self.start)
