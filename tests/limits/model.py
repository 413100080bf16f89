"""What admission has to do, said as slowly and plainly as can be: lists of what happened, summed up anew each time."""

from __future__ import annotations

from dataclasses import dataclass, field

from keys.limits import Ask, Baseline, Limits, Need, Scope
from keys.limits.base import DAY_US
from keys.limits.periods import span_at
from keys.limits.scope import COUNT_LIMITS

MINUTE = 60_000_000
SECOND = 1_000_000
LATE = SECOND
"""How much later than exact a request or token may come free."""


@dataclass(eq=False)
class Request:
    """One that was admitted."""

    at: int
    scopes: list[Scope]
    ask: Ask
    running: bool = True
    tokens: int = 0
    cost: int = 0
    requests: int = 0
    settled_at: int = 0


@dataclass
class Past:
    """What one scope has seen since each of its limits has been set without a break."""

    limits: Limits = field(default_factory=Limits)
    since: dict[str, list[Request]] = field(default_factory=dict)
    admitted: list[Request] = field(default_factory=list)
    """All of them, ever: the ledger."""


class Model:
    def __init__(self) -> None:
        self.pasts: dict[tuple[str, str], Past] = {}

    def past(self, scope: Scope) -> Past:
        return self.pasts.setdefault((scope.kind, scope.id), Past())

    def adopt(self, scopes: list[Scope]) -> None:
        """See these limits: what is not limited is not counted."""
        for scope in scopes:
            past = self.past(scope)
            for name in (*COUNT_LIMITS, "budget"):
                if getattr(scope.limits, name) is None:
                    past.since.pop(name, None)
                else:
                    past.since.setdefault(name, [])
            if (scope.limits.rps, scope.limits.burst) != (past.limits.rps, past.limits.burst):
                past.since["rps"] = []
            if (scope.limits.period, scope.limits.time_zone) != (past.limits.period, past.limits.time_zone):
                past.since["budget"] = []
            if scope.limits.budget is None:
                past.since.pop("budget", None)
            past.limits = scope.limits

    def admit(self, at: int, scopes: list[Scope], ask: Ask) -> Request:
        request = Request(at, scopes, ask)
        for scope in scopes:
            past = self.past(scope)
            past.admitted.append(request)
            for requests in past.since.values():
                requests.append(request)
        return request

    def requests_in(self, scope: Scope, now: int, window: int = MINUTE) -> int:
        return sum(1 for request in self.past(scope).since.get("rpm", []) if request.at > now - window)

    def tokens_in(self, scope: Scope, now: int, window: int = MINUTE) -> int:
        """An estimate counts from when it was reserved; what was used beyond it, from when that was known."""
        total = 0
        for request in self.past(scope).since.get("tpm", []):
            known = request.ask.tokens if request.running else min(request.tokens, request.ask.tokens)
            if request.at > now - window:
                total += known
            if not request.running and request.settled_at > now - window:
                total += max(0, request.tokens - request.ask.tokens)
        return total

    def running(self, scope: Scope) -> int:
        return sum(1 for request in self.past(scope).since.get("parallel", []) if request.running)

    def exceeds_rate(self, scope: Scope, now: int) -> bool:
        """Whether, over any time until now, there were more than the burst and what runs out in that time."""
        times = [request.at for request in self.past(scope).since.get("rps", [])]
        rate = scope.limits.rps or 0
        burst = rate if scope.limits.burst is None else scope.limits.burst
        return any(
            len(times) - index > burst + (now - first) * rate / SECOND + 1e-9 for index, first in enumerate(times)
        )

    def ledger(self, need: Need) -> Baseline:
        """What a database would say: the rows of what has ended."""
        rows = [request for request in self.pasts[need.kind, need.id].admitted if not request.running]
        return Baseline(
            sum(request.cost for request in rows if request.at >= need.since * SECOND),
            sum(request.requests for request in rows),
            sum(request.requests for request in rows if request.at >= need.day * SECOND),
        )

    def spent(self, scope: Scope, now: int) -> int:
        """In this period, by what was admitted since the budget was set."""
        start = span_at(scope.limits.period, scope.limits.time_zone, now / SECOND).start * SECOND
        return sum(r.cost for r in self._ended(scope, "budget") if r.at >= start)

    def used_today(self, scope: Scope, now: int) -> int:
        day = now // DAY_US * DAY_US
        return sum(r.requests for r in self._ended(scope, "daily") if r.at >= day)

    def used_ever(self, scope: Scope) -> int:
        return sum(r.requests for r in self._ended(scope, "max_requests"))

    def _ended(self, scope: Scope, limit: str) -> list[Request]:
        return [request for request in self.past(scope).since.get(limit, []) if not request.running]
