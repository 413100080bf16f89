"""The base class of counters: one counts one limit of one scope in this process."""

from __future__ import annotations

from typing import Any, ClassVar

from keys.limits.base import Ask, Baseline, CrossedThreshold, Need, Used
from keys.limits.refusal import Refusal
from keys.limits.scope import Scope


class Counter:
    """One limit of one scope. Times are Unix microseconds, so that every sum is exact.

    First `check` is called on every counter of a request; it takes nothing. If all have room, `take` is called on each.
    What `take` returns is passed to `settle`; None: there is nothing to settle.
    """

    __slots__ = ()
    limit_kind: ClassVar[str]
    """The field of `Limits` that has the limit. It is not None while this counter is in use."""
    ends_with_request: ClassVar[bool] = False
    """Whether what it takes is held until the request ends."""

    def set(self, scope: Scope) -> None:
        """Take over these limits; what was counted stays."""
        raise NotImplementedError

    def check(self, ask: Ask, now: int) -> Refusal | None:
        raise NotImplementedError

    def take(self, ask: Ask, now: int) -> Any:
        raise NotImplementedError

    def settle(self, mark: Any, used: Used) -> CrossedThreshold | None:
        """Replace what was reserved by what was used."""

    def idle(self, now: int) -> bool:
        """Whether it can be forgotten: that changes nothing, or nothing that a baseline would not bring back."""
        raise NotImplementedError


class BaselineCounter(Counter):
    """A counter that starts from a baseline, which only the ledger knows at first."""

    __slots__ = ("has_baseline",)

    has_baseline: bool

    def load(self, need: Need, baseline: Baseline) -> None:
        """Start from the baseline, unless there is one already or `need` is of another period."""
        raise NotImplementedError

    def raise_to(self, need: Need, baseline: Baseline) -> CrossedThreshold | None:
        """Raise the count to the baseline if it is lower, and `need` is of this period."""
        raise NotImplementedError


UNKNOWN = Refusal("", 0, 0, 0, "time", 0)
"""What `BaselineCounter.check` returns until the baseline is loaded."""
