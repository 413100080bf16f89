"""The embeddings that a user's tier allows per day (F31, F109). Each input counts as one; a batch fits whole or not.

The quota is one more scope of the request, so it is decided together with all others. It resets at midnight UTC.
"""

from __future__ import annotations

from functools import lru_cache

from keys.limits import Limits, Scope
from keys.records import KeyRecord
from usage.ledger.totals import TIER


def quota_of(key: KeyRecord | None) -> Scope | None:
    """The scope of the quota; None for keys that belong to no user, or have no tier."""
    if key is None or key.tier is None or key.owner_id is None:
        return None
    return tier_scope(str(key.owner_id), key.tier.name, key.tier.daily_embeddings)


@lru_cache(maxsize=10_000)
def tier_scope(owner: str, tier: str, daily: int) -> Scope:
    return Scope(TIER, owner, f"tier {tier!r}", Limits(daily=daily))
