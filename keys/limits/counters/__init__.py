"""The counters of one process, one for each kind of limit.

A counter in a new file of this package is found by itself.
"""

from importlib import import_module
from pkgutil import iter_modules

from keys.limits.counters.base import UNKNOWN, BaselineCounter, Counter
from keys.limits.counters.bucket import Bucket
from keys.limits.counters.budget import Budget
from keys.limits.counters.quota import Daily, Lifetime
from keys.limits.counters.slots import Slots
from keys.limits.counters.window import RequestWindow, TokenWindow
from keys.limits.scope import Limits

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


def find_counters() -> tuple[type[Counter], ...]:
    """The counters of all files here, in the order of the fields of `Limits`."""
    counters: dict[str, type[Counter]] = {}
    for file in iter_modules(__path__):
        for one in vars(import_module(f"{__name__}.{file.name}")).values():
            if isinstance(one, type) and issubclass(one, Counter) and hasattr(one, "limit_kind"):
                counters[one.limit_kind] = one
    return tuple(counters[name] for name in Limits.__struct_fields__ if name in counters)


COUNTERS = find_counters()
