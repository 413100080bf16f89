"""What the cache means to one request."""

from __future__ import annotations

from typing import NamedTuple

from cache.responses import ResponseCache

BYPASS, MISS, HIT, JOINED = "BYPASS", "MISS", "HIT", "JOINED"
"""What `X-Cache` says, and the row."""

FREE = frozenset({HIT, JOINED})
"""No provider was asked for this request."""


class Caching(NamedTuple):
    """What the provider answers may be stored under this name, for this time."""

    digest: str
    ttl_s: int
    cache: ResponseCache
    joins: bool
    """An answer to the same question that is under way for another request will do, and the other way round."""
    purge: int
    """The newest purge when the entry was looked for."""
