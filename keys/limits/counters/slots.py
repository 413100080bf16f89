"""Requests at once: a slot is held from admission until the request is settled."""

from __future__ import annotations

from keys.limits.base import Ask, Used
from keys.limits.counters.base import Counter
from keys.limits.refusal import IN_FLIGHT_WAIT_US, Cure, Refusal
from keys.limits.scope import Scope


class Slots(Counter):
    __slots__ = ("limit", "running")
    limit_kind = "parallel"
    ends_with_request = True

    def __init__(self) -> None:
        self.running = 0
        self.limit = 0

    def set(self, scope: Scope) -> None:
        self.limit = scope.limits.parallel or 0

    def check(self, ask: Ask, now: int) -> Refusal | None:
        if self.running < self.limit:
            return None
        cure: Cure = "others" if self.limit > 0 else "never"
        return Refusal("parallel", self.limit, self.running, 1, cure, IN_FLIGHT_WAIT_US)

    def take(self, ask: Ask, now: int) -> bool:
        self.running += 1
        return True

    def settle(self, mark: bool, used: Used) -> None:
        self.running -= 1

    def idle(self, now: int) -> bool:
        return self.running == 0
