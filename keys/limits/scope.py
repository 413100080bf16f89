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
    """What is said of a limit that is a whole number, wherever it is told of.

    `title`: in refusals, forms and commands. `most`: beyond what one gateway can serve. A larger number is a slip of
    the hand, and no limit is written as none. `unit`: behind the number, in lists of the admin; "": it is not shown.
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
"""By the fields of `Limits`. Models, forms, commands and the script in Redis have these, in this order."""


class Scope(msgspec.Struct, frozen=True, eq=False):
    """Someone or something that limits apply to. `kind` is key, user, team, project, address or global.

    Scopes are compared and hashed as objects, so that what is worked out for one is found again at once. `scope_of`
    gives one object for the same words.
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
