"""Why a reservation was refused, and what makes room."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from keys.limits.base import SECOND_US, LimitStatuses
from keys.limits.scope import COUNT_LIMITS, Scope
from shown.money import plain

Cure = Literal["time", "others", "never"]
"""What makes room: a known time (`time`), the end of other requests (`others`), or nothing (`never`)."""

IN_FLIGHT_WAIT_US = SECOND_US
"""The wait that clients are told if only the end of other requests makes room: nobody knows when that is."""

TITLES = {**{name: count.title for name, count in COUNT_LIMITS.items()}, "budget": "budget"}
QUOTAS = {"max_requests", "budget"}


class Refusal(NamedTuple):
    """One limit's refusal. `used`: what counts against the limit already. `amount`: what the request would add."""

    limit_kind: str
    limit: int
    used: int
    amount: int
    cure: Cure
    wait_us: int
    """Time until the same request has room, if the cure is time."""
    resets_us: int | None = None
    """When the limit starts anew (Unix microseconds). None: it does not."""
    spent: int = 0
    """The part of `used` that is spent, not only reserved (budgets)."""

    @property
    def severity(self) -> tuple[int, int]:
        """Sort key by which the longest wait is found. A refusal that waiting does not cure is the longest."""
        return (1, 0) if self.cure == "never" else (0, self.wait_us)


class LimitExceeded(Exception):
    """A reservation was refused; nothing was taken.

    `retry_after_s`: after this time the same request has room, if no other request takes it. None: waiting does not
    help, so the answer has no `Retry-After`, and `x-should-retry: false` for clients that retry by themselves. `name`
    is the limit's name for people, `limit_kind` its field of `Limits`, `used` what counts against it, and `resets_at`
    when it starts anew (Unix seconds). Budgets are in picodollars; `spent` is `used` without what running requests have
    reserved. `statuses` is as in `Reservation`, for the headers.
    """

    def __init__(self, scope: Scope, refusal: Refusal, statuses: LimitStatuses) -> None:
        self.scope, self.refusal, self.statuses = scope, refusal, statuses
        self.limit_kind = refusal.limit_kind
        self.name = TITLES[refusal.limit_kind]
        self.limit, self.used, self.spent = refusal.limit, refusal.used, refusal.spent
        self.code = "insufficient_quota" if refusal.limit_kind in QUOTAS else "rate_limit_exceeded"
        self.retry_after_s = {
            "time": refusal.wait_us / SECOND_US,
            "others": IN_FLIGHT_WAIT_US / SECOND_US,
            "never": None,
        }[refusal.cure]
        self.resets_at = None if refusal.resets_us is None else refusal.resets_us / SECOND_US
        super().__init__(f"{self.name} of {scope.label}: {self.limit}")

    @property
    def explanation(self) -> str:
        """One or two sentences for the client."""
        return f"{self._what()} {self._cure()}".rstrip()

    def _what(self) -> str:
        refusal, label = self.refusal, self.scope.label
        if refusal.limit_kind == "budget":
            limit = usd(self.limit)
            if refusal.cure == "never" and refusal.amount > self.limit > self.spent:
                return (
                    f"This request may cost {usd(refusal.amount)} USD, more than the budget of {limit} USD on {label}."
                )
            reserved = self.used - self.spent
            running = f", {usd(reserved)} USD reserved by running requests" if reserved else ""
            own = f", and this request may cost {usd(refusal.amount)} USD" if self.used < self.limit else ""
            return f"Budget reached: {usd(self.spent)} of {limit} USD are spent on {label}{running}{own}."
        if refusal.cure == "never" and refusal.amount > self.limit > 0:
            return f"This request needs {refusal.amount}, more than the {self.limit} {self.name} on {label}."
        head = "Quota used up" if refusal.limit_kind == "max_requests" else "Rate limit reached"
        return f"{head}: {self.limit} {self.name} on {label}; {self.used} used, {refusal.amount} asked for."

    def _cure(self) -> str:
        if self.refusal.cure == "others":
            return "Try again when one of them has ended."
        resets = "" if self.resets_at is None else f"It resets at {_moment(self.resets_at)}"
        if self.refusal.cure == "never":
            return f"{resets}, but this request has no room even then." if resets else "Waiting does not help."
        if resets:
            return f"{resets}."
        return f"Try again in {-(-self.refusal.wait_us // SECOND_US)} s."


def _moment(unix_s: float) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def usd(picousd: int) -> str:
    return plain(Decimal(picousd).scaleb(-12))
