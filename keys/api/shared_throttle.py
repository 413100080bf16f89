"""A throttle that all processes of an installation count together in Redis. Without Redis each counts by itself."""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

log = logging.getLogger("sluice.keys")

TIMEOUT_S = 0.5
AWAY_S = 5.0
"""A Redis that did not answer is not asked again for this long, so that people who sign in do not wait for it."""

# A list of the last attempts' times by Redis' clock, newest first. One script, so processes cannot both take the last
# one.
TAKE = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local most, span = tonumber(ARGV[1]), tonumber(ARGV[2])
local oldest = redis.call('LINDEX', KEYS[1], most - 1)
if oldest and oldest + span > now then
  return oldest + span - now
end
redis.call('LPUSH', KEYS[1], now)
redis.call('LTRIM', KEYS[1], 0, most - 1)
redis.call('PEXPIRE', KEYS[1], span)
return 0
"""


class SharedThrottle(SimpleRateThrottle):
    """DRF's throttle with counts in Redis.

    Without Redis, DRF's get and set are used, which two processes can do at once.
    """

    num_requests: int
    duration: int

    def allow_request(self, request: Request, view: Any) -> bool:
        self.wait_s: float | None = None
        key = self.get_cache_key(request, view)
        if key is None or not first_look(request, key):
            return True
        counts = shared_counts(settings.REDIS_URL) if settings.REDIS_URL else None
        wait_s = counts.take(key, self.num_requests, self.duration) if counts is not None else None
        if wait_s:
            self.wait_s = wait_s
            return False
        # What Redis allowed is counted here, too, so that this process has the count if Redis goes away.
        return super().allow_request(request, view) or wait_s is not None

    def wait(self) -> float | None:
        return super().wait() if self.wait_s is None else self.wait_s


def first_look(request: Any, key: str) -> bool:
    """Whether this attempt is not counted yet: a request that hashes a password begins again (`keys/hashing.py`)."""
    request = getattr(request, "_request", request)
    if not hasattr(request, "tries_counted"):
        request.tries_counted = set()
    is_first = key not in request.tries_counted
    request.tries_counted.add(key)
    return is_first


class SharedCounts:
    def __init__(self, url: str) -> None:
        """Without retries, which would outlast the timeout and count twice."""
        self._redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._away_until = 0.0

    def take(self, key: str, most: int, span_s: int) -> float | None:
        """Count an attempt. Returns the seconds to wait, 0 if it is allowed, None if Redis does not answer."""
        if time.monotonic() < self._away_until:
            return None
        try:
            wait_ms: Any = self._redis.eval(TAKE, 1, key, most, span_s * 1000)
        except (RedisError, OSError) as error:
            self._away_until = time.monotonic() + AWAY_S
            log.warning("No answer of Redis (%s): this process counts tries to sign in alone.", type(error).__name__)
            return None
        return float(wait_ms) / 1000


@lru_cache(maxsize=1)
def shared_counts(url: str) -> SharedCounts:
    return SharedCounts(url)
