"""How the requests that went to a provider lately have ended, from the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from usage.records import Outcome, RequestRecord

SINCE = timedelta(minutes=10)
LOOKED_AT = 3
TELLING_OUTCOMES = (Outcome.COMPLETE, Outcome.UPSTREAM_ERROR)
"""Ends that say something of the provider."""


class Traffic(NamedTuple):
    """The newest requests of a provider, newest first: whether each was served, with its status; how long the newest
    took the provider, in milliseconds, and when it began.
    """

    served: tuple[bool, ...]
    status: int
    latency_ms: float | None
    at: datetime


def latest_traffic(providers: Iterable[str], now: datetime) -> dict[str, Traffic]:
    """Of those providers, by name, that were asked in the last minutes. Raises `DatabaseError`."""
    traffic = {}
    for name in providers:
        rows = RequestRecord.objects.between(now - SINCE, None).filter(provider=name, outcome__in=TELLING_OUTCOMES)
        newest = list(
            rows.order_by("-pk").values_list("outcome", "status_code", "upstream_ms", "created_at")[:LOOKED_AT]
        )
        if newest:
            served = tuple(outcome == Outcome.COMPLETE and status < 500 for outcome, status, *_ in newest)
            _, status, latency_ms, at = newest[0]
            traffic[name] = Traffic(served, status, latency_ms, at)
    return traffic
