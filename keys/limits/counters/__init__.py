"""What counts each kind of limit in one process."""

from keys.limits.counters.base import UNKNOWN, BaselineCounter, Counter
from keys.limits.counters.bucket import Bucket
from keys.limits.counters.budget import Budget
from keys.limits.counters.quota import Daily, Lifetime
from keys.limits.counters.slots import Slots
from keys.limits.counters.window import RequestWindow, TokenWindow

__all__ = [
    "COUNTERS",
    "UNKNOWN",
    "BaselineCounter",
    "Bucket",
    "Budget",
    "Counter",
    "Daily",
    "Lifetime",
    "RequestWindow",
    "Slots",
    "TokenWindow",
]

COUNTERS: tuple[type[Counter], ...] = (RequestWindow, TokenWindow, Bucket, Slots, Daily, Lifetime, Budget)
