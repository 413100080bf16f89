"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

LONGEST_RETRY_AFTER_S = 3600.0
"""A server may ask for more patience than this; it does not get it."""


class Backoff(NamedTuple):
    """Twice as long each time, up to a bound, half of it by chance so that many who failed together do not return
    so."""

    first_s: float = 1.0
    most_s: float = 300.0

    def wait_s(
        self, tries: int, retry_after_s: float | None = None, draw: Callable[[], float] = random.random
    ) -> float:
        """After so many tries in vain, from 1; at least what the server asked for."""
        whole: float = min(self.most_s, self.first_s * 2 ** min(tries - 1, 30))
        wait = whole * (0.5 + draw() / 2)
        return max(wait, min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))


def retry_after_s(header: str | None, now: float) -> float | None:
    """Seconds from now (Unix seconds) that a `Retry-After` asks for, as a number or as a date; None: it says
    nothing."""
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
