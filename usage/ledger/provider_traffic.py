"""How the latest requests to each provider ended, from the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from usage.records import Outcome, RequestRecord

SINCE = timedelta(minutes=10)
LOOKED_AT = 3
TELLING_OUTCOMES = (Outcome.COMPLETE, Outcome.UPSTREAM_ERROR)
"""Outcomes that depend on the provider."""


class Traffic(NamedTuple):
    """The newest requests of a provider. `served` says of each, newest first, whether it was served.

    The other fields are those of the newest: its status, how long the provider took, and when it began.
    """

    served: tuple[bool, ...]
    status: int
    latency_ms: float | None
    at: datetime


def latest_traffic(providers: Iterable[str], now: datetime) -> dict[str, Traffic]:
    """Return the traffic, by name, of the providers that had requests within `SINCE`. Raises `DatabaseError`."""
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
