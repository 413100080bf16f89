"""Tries that all processes of an installation count together, in Redis; without it each counts its own."""

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
"""A Redis that did not answer is not asked for so long: whoever signs in meanwhile does not wait for it."""

# The moments of the last tries, newest first, by Redis' clock. One step, so that no two processes take the same try.
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
    """DRF's, whose own way is the one without Redis: get and set, which two processes do at once."""

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
        # What Redis let pass is counted here as well, and so it is when Redis goes away.
        return super().allow_request(request, view) or wait_s is not None

    def wait(self) -> float | None:
        return super().wait() if self.wait_s is None else self.wait_s


def first_look(request: Any, key: str) -> bool:
    """Whether the try is not counted yet: a request that hashes a password is begun again (`keys/hashing.py`)."""
    request = getattr(request, "_request", request)
    if not hasattr(request, "tries_counted"):
        request.tries_counted = set()
    is_first = key not in request.tries_counted
    request.tries_counted.add(key)
    return is_first


class SharedCounts:
    def __init__(self, url: str) -> None:
        """Without retries: they would outlast the timeout, and count twice."""
        self._redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._away_until = 0.0

    def take(self, key: str, most: int, span_s: int) -> float | None:
        """One try. Returns how long to wait for it, 0 where it was taken, None where Redis does not say."""
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
