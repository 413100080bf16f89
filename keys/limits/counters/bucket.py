"""Requests per second, with bursts: a leaky bucket. `burst` requests fill it, and it drains by `rps` a second."""

from __future__ import annotations

from keys.limits.base import SECOND_US, Ask
from keys.limits.counters.base import Counter
from keys.limits.refusal import Refusal
from keys.limits.scope import Scope


class Bucket(Counter):
    """`level` is in millionths of a request: it drains by `rps` in a microsecond, so all numbers are whole."""

    __slots__ = ("at", "burst", "level", "rate")
    limit_kind = "rps"

    def __init__(self) -> None:
        self.level = 0
        self.at = 0
        self.rate = 0
        self.burst = 0

    def set(self, scope: Scope) -> None:
        limits = scope.limits
        self.rate = limits.rps or 0
        self.burst = self.rate if limits.burst is None else limits.burst

    def check(self, ask: Ask, now: int) -> Refusal | None:
        self._run_out(now)
        excess = self.level + SECOND_US - self.burst * SECOND_US
        if excess <= 0:
            return None
        used = -(-self.level // SECOND_US)
        if self.rate <= 0 or self.burst <= 0:
            return Refusal("rps", self.rate, used, 1, "never", 0)
        return Refusal("rps", self.rate, used, 1, "time", -(-excess // self.rate))

    def take(self, ask: Ask, now: int) -> None:
        self.level += SECOND_US

    def idle(self, now: int) -> bool:
        self._run_out(now)
        return self.level == 0

    def _run_out(self, now: int) -> None:
        # If the clock was set back, nothing drains, and time goes on from the earlier moment.
        if now > self.at:
            self.level = max(0, self.level - (now - self.at) * self.rate)
        self.at = now
