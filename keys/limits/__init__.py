"""Limits: what a request reserves before it is sent, and how the reservation is settled."""

from keys.limits.base import (
    Ask,
    Baseline,
    BudgetStatus,
    CrossedThreshold,
    LimitStatus,
    LimitStatuses,
    Need,
    Rate,
    Rates,
    Reservation,
    Unknown,
)
from keys.limits.memory import MemoryLimits
from keys.limits.refusal import LimitExceeded
from keys.limits.scope import Limits, Scope, Scopes

__all__ = [
    "Ask",
    "Baseline",
    "BudgetStatus",
    "CrossedThreshold",
    "LimitExceeded",
    "LimitStatus",
    "LimitStatuses",
    "Limits",
    "MemoryLimits",
    "Need",
    "Rate",
    "Rates",
    "Reservation",
    "Scope",
    "Scopes",
    "Unknown",
]
