"""What this process counts of one scope: its counters, and the short way through them."""

from __future__ import annotations

from keys.limits.counters import COUNTERS, Counter, RequestWindow, TokenWindow
from keys.limits.fast_path import FastPath
from keys.limits.scope import Limits, Scope

NO_LIMITS = Limits()


class ScopeState:
    """What is counted of one scope. The counters are right when the fast path is closed."""

    __slots__ = ("counters", "fast_path", "limits", "requests", "scope", "slow_at", "tokens")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.limits = NO_LIMITS
        self.counters: tuple[Counter, ...] = ()
        self.requests: RequestWindow | None = None
        self.tokens: TokenWindow | None = None
        self.fast_path: FastPath | None = None
        self.slow_at = 0
        """When its counters were asked last."""

    def adopt(self, scope: Scope) -> None:
        """Count what these limits limit, and nothing else."""
        self.close_fast_path()
        kept = {type(counter): counter for counter in self.counters}
        wanted = [kind for kind in COUNTERS if getattr(scope.limits, kind.limit_kind) is not None]
        self.counters = tuple(kept.get(kind) or kind() for kind in wanted)
        for counter in self.counters:
            counter.set(scope)
        self.requests = next((counter for counter in self.counters if isinstance(counter, RequestWindow)), None)
        self.tokens = next((counter for counter in self.counters if isinstance(counter, TokenWindow)), None)
        self.limits = scope.limits

    def close_fast_path(self) -> None:
        fast_path, self.fast_path = self.fast_path, None
        if fast_path is not None:
            fast_path.close()

    def idle(self, now: int) -> bool:
        self.close_fast_path()
        return all(counter.idle(now) for counter in self.counters)
