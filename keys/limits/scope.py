"""What limits are, and what they apply to."""

from __future__ import annotations

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


class Scope(msgspec.Struct, frozen=True):
    """Someone or something that limits apply to. `kind` is key, user, team, project, address or global."""

    kind: str
    id: str
    label: str
    limits: Limits
