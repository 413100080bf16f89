"""What this process counts for one scope: its counters, and the fast path through them."""

from __future__ import annotations

from keys.limits.counters import COUNTERS, Counter, RequestWindow, TokenWindow
from keys.limits.fast_path import FastPath
from keys.limits.scope import Limits, Scope

NO_LIMITS = Limits()


class ScopeState:
    """The counters of one scope. They are up to date only after its fast path was closed."""

    __slots__ = ("counters", "fast_path", "limits", "requests", "scope", "slow_at", "tokens")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.limits = NO_LIMITS
        self.counters: tuple[Counter, ...] = ()
        self.requests: RequestWindow | None = None
        self.tokens: TokenWindow | None = None
        self.fast_path: FastPath | None = None
        self.slow_at = 0
        """When its counters were last asked."""

    def adopt(self, scope: Scope) -> None:
        """Count what these limits restrict, and nothing else. Counters that are still needed keep their counts."""
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
