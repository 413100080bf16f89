"""Limits: what may be taken before a request is sent, and given back after."""

from keys.limits.base import (
    Ask,
    Baseline,
    BudgetStanding,
    Crossing,
    Held,
    Need,
    Rate,
    Rates,
    Standing,
    Standings,
    Unknown,
)
from keys.limits.memory import MemoryLimits
from keys.limits.refusal import LimitExceeded
from keys.limits.scope import Limits, Scope

__all__ = [
    "Ask",
    "Baseline",
    "BudgetStanding",
    "Crossing",
    "Held",
    "LimitExceeded",
    "Limits",
    "MemoryLimits",
    "Need",
    "Rate",
    "Rates",
    "Scope",
    "Standing",
    "Standings",
    "Unknown",
]
