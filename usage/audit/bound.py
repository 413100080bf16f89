"""Bounds how many refusals get an entry of their own: a flood of wrong keys must not fill the disk with entries."""

from __future__ import annotations

import threading
import time
from collections import Counter

from usage.audit.entry import ActorKind, AuditEntry, Result


class Bound:
    """Lets `per_second` refusals pass each second, and counts the others by code. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._second = 0
        self._listed = 0
        self._beyond: Counter[str] = Counter()

    def lets_pass(self, code: str, per_second: int, now: float) -> bool:
        with self._lock:
            if int(now) != self._second:
                self._second, self._listed = int(now), 0
            if self._listed < per_second:
                self._listed += 1
                return True
            self._beyond[code or "refused"] += 1
            return False

    def summary(self, now: float) -> list[AuditEntry]:
        """Return one entry for all refusals that did not pass in past seconds; no entry if all did."""
        with self._lock:
            if not self._beyond or int(now) == self._second:
                return []
            counted, self._beyond = self._beyond, Counter()
        return [
            AuditEntry(
                actor_kind=ActorKind.SYSTEM,
                action="request",
                result=Result.REFUSED,
                code="many_refused",
                changes={"not_listed": counted.total(), "by_code": dict(counted)},
            )
        ]


bound = Bound()
"""The bound of this process, for both planes."""


def now() -> float:
    return time.time()
