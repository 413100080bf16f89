"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

LONGEST_RETRY_AFTER_S = 3600.0
"""A server that asks for a longer pause gets this one."""


class Backoff(NamedTuple):
    """A pause that doubles with each try, up to a bound. Half of it is random, so that senders that failed together do
    not retry together."""

    first_s: float = 1.0
    most_s: float = 300.0

    def wait_s(
        self, tries: int, retry_after_s: float | None = None, draw: Callable[[], float] = random.random
    ) -> float:
        """Return the seconds to wait after so many failed tries, from 1; at least what the server asked for."""
        whole: float = min(self.most_s, self.first_s * 2 ** min(tries - 1, 30))
        wait = whole * (0.5 + draw() / 2)
        return max(wait, min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))


def retry_after_s(header: str | None, now: float) -> float | None:
    """Parse a `Retry-After`, which is a number or a date, to seconds from `now` (Unix seconds).

    Returns None if there is none, or if it is not valid.
    """
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now, UTC)).total_seconds())
