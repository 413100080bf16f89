"""Requests per UTC day, and requests in all."""

from __future__ import annotations

from keys.limits.base import DAY_US, SECOND_US, Ask, Baseline, Need, Used
from keys.limits.counters.base import UNKNOWN, BaselineCounter
from keys.limits.refusal import Cure, Refusal
from keys.limits.scope import Scope

KEPT_US = 300 * SECOND_US
"""How long a count with a baseline is kept after its last use: longer than the ledger takes to include it."""


class Lifetime(BaselineCounter):
    """Requests in all. A request that was free gives back what it took."""

    __slots__ = ("limit", "touched", "used")
    limit_kind = "max_requests"

    def __init__(self) -> None:
        self.has_baseline = False
        self.used = self.limit = self.touched = 0

    def set(self, scope: Scope) -> None:
        self.limit = scope.limits.max_requests or 0

    def check(self, ask: Ask, now: int) -> Refusal | None:
        if not self.has_baseline:
            self.touched = now
            return UNKNOWN
        if self.used + ask.requests <= self.limit or not ask.requests:
            return None
        return Refusal("max_requests", self.limit, self.used, ask.requests, "never", 0)

    def take(self, ask: Ask, now: int) -> int:
        self.used += ask.requests
        self.touched = now
        return ask.requests

    def settle(self, mark: int, used: Used) -> None:
        if used.requests is not None:
            self.used = max(0, self.used + used.requests - mark)

    def idle(self, now: int) -> bool:
        return not 0 <= now - self.touched < KEPT_US

    def load(self, need: Need, baseline: Baseline) -> None:
        if not self.has_baseline:
            self.used, self.has_baseline = baseline.requests_total, True

    def raise_to(self, need: Need, baseline: Baseline) -> None:
        if self.has_baseline:
            self.used = max(self.used, baseline.requests_total)


class Daily(BaselineCounter):
    """Requests since the last midnight, UTC."""

    __slots__ = ("day", "limit", "touched", "used")
    limit_kind = "daily"

    def __init__(self) -> None:
        self.has_baseline = False
        self.day = self.used = self.limit = self.touched = 0

    def set(self, scope: Scope) -> None:
        self.limit = scope.limits.daily or 0

    def check(self, ask: Ask, now: int) -> Refusal | None:
        self._turn(now)
        if not self.has_baseline:
            self.touched = now
            return UNKNOWN
        if self.used + ask.requests <= self.limit or not ask.requests:
            return None
        midnight = (self.day + 1) * DAY_US
        cure: Cure = "time" if ask.requests <= self.limit else "never"
        return Refusal("daily", self.limit, self.used, ask.requests, cure, midnight - now, midnight)

    def take(self, ask: Ask, now: int) -> tuple[int, int]:
        self.used += ask.requests
        self.touched = now
        return self.day, ask.requests

    def settle(self, mark: tuple[int, int], used: Used) -> None:
        day, amount = mark
        if used.requests is not None and day == self.day:
            self.used = max(0, self.used + used.requests - amount)

    def idle(self, now: int) -> bool:
        return not 0 <= now - self.touched < KEPT_US

    def load(self, need: Need, baseline: Baseline) -> None:
        if not self.has_baseline and need.day * SECOND_US == self.day * DAY_US:
            self.used, self.has_baseline = baseline.requests_today, True

    def raise_to(self, need: Need, baseline: Baseline) -> None:
        if self.has_baseline and need.day * SECOND_US == self.day * DAY_US:
            self.used = max(self.used, baseline.requests_today)

    def _turn(self, now: int) -> None:
        """A new day begins at nothing. A clock that was set back a little does not bring the old one again."""
        day = now // DAY_US
        if day > self.day:
            self.day, self.used = day, 0
        elif day < self.day - 1:
            self.day, self.has_baseline = day, False
