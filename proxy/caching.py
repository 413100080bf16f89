"""What the cache means to one request."""

from __future__ import annotations

from typing import NamedTuple

from cache.responses import ResponseCache

BYPASS, MISS, HIT = "BYPASS", "MISS", "HIT"
"""What `X-Cache` says, and the row."""


class Caching(NamedTuple):
    """What the provider answers may be stored under this name, for this time."""

    digest: str
    ttl_s: int
    cache: ResponseCache
