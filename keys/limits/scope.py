"""What limits are, and what they apply to."""

from __future__ import annotations

from functools import lru_cache

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
