"""What limits are, and what they apply to."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What one scope may use; None: no limit. Money is in picodollars."""

    rpm: int | None = None
    tpm: int | None = None
    rps: int | None = None
    burst: int | None = None
    parallel: int | None = None
    daily: int | None = None
    max_requests: int | None = None
    budget: int | None = None
    period: str = "total"  # total | day | week | month
    soft_threshold: float = 0.8
    time_zone: str = "UTC"


class Count(NamedTuple):
    """How a limit that is a whole number is described everywhere.

    `title`: its name in refusals, forms and commands. `most`: the largest number allowed, which is more than one
    gateway can serve. A larger number is a typing error, because no limit is written as none. `unit`: written behind
    the number in lists of the admin; "": the lists do not show the limit.
    """

    title: str
    most: int
    unit: str = ""


COUNT_LIMITS = {
    "rpm": Count("requests per minute", 10_000_000, "requests/min"),
    "tpm": Count("tokens per minute", 100_000_000_000, "tokens/min"),
    "rps": Count("requests per second", 1_000_000, "requests/s"),
    "burst": Count("burst of requests under rps", 1_000_000),
    "parallel": Count("requests at once", 1_000_000, "at once"),
    "daily": Count("requests per day", 1_000_000_000, "requests/day"),
    "max_requests": Count("requests in all", 1_000_000_000_000, "altogether"),
}
"""By field of `Limits`. Models, forms, commands and the script in Redis have these limits in this order."""


class Scope(msgspec.Struct, frozen=True, eq=False):
    """What limits apply to. `kind` is key, user, team, project, address or global.

    Scopes are compared and hashed as objects, so that what is computed for one is found fast. `scope_of` returns the
    same object for the same arguments.
    """

    kind: str
    id: str
    label: str
    limits: Limits


Scopes = tuple[Scope, ...]


@lru_cache(maxsize=10_000)
def scope_of(kind: str, id_: str, label: str, limits: Limits) -> Scope:
    """The keys of one project share its scope, instead of each having a copy."""
    return Scope(kind, id_, label, limits)
