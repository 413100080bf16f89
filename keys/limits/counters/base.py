"""What counts one limit of one scope in this process."""

from __future__ import annotations

from typing import Any, ClassVar

from keys.limits.base import Ask, Baseline, CrossedThreshold, Need, Used
from keys.limits.refusal import Refusal
from keys.limits.scope import Scope


class Counter:
    """One limit of one scope. Times are Unix microseconds, so that every sum is exact.

    First every counter of a request is asked by `check`, which takes nothing; when all agree, each is told to `take`.
    What `take` returns comes back with `settle`; None: there is nothing to settle.
    """

    __slots__ = ()
    limit_kind: ClassVar[str]
    """The field of `Limits` that has the limit; it is not None here."""
    ends_with_request: ClassVar[bool] = False
    """Whether what is taken is held until the request ends."""

    def set(self, scope: Scope) -> None:
        """Take over these limits; what was counted stays."""
        raise NotImplementedError

    def check(self, ask: Ask, now: int) -> Refusal | None:
        raise NotImplementedError

    def take(self, ask: Ask, now: int) -> Any:
        raise NotImplementedError

    def settle(self, mark: Any, used: Used) -> CrossedThreshold | None:
        """Turn what was reserved into what was used."""

    def idle(self, now: int) -> bool:
        """Whether forgetting it changes nothing, or nothing that a baseline would not bring back."""
        raise NotImplementedError


class BaselineCounter(Counter):
    """A counter that starts from a baseline, which only the ledger knows at first."""

    __slots__ = ("has_baseline",)

    has_baseline: bool

    def load(self, need: Need, baseline: Baseline) -> None:
        """Start from the baseline, unless there is one already or this one is of another period."""
        raise NotImplementedError

    def raise_to(self, need: Need, baseline: Baseline) -> CrossedThreshold | None:
        """Stand no lower than this, if it is of this period."""
        raise NotImplementedError


UNKNOWN = Refusal("", 0, 0, 0, "time", 0)
"""What `BaselineCounter.check` returns until the baseline is loaded."""
