"""Requests that have ended and cost something, written as the process of the ledger does."""

from __future__ import annotations

import itertools
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone

from usage.event import RequestEvent
from usage.ledger.write import write_events

_numbers = itertools.count()


def spend(usd: str, *, at: datetime | None = None, **whose: Any) -> None:
    """A request that has ended, written as the ledger's process does: `spend("0.5", key=1)`."""
    moment = (at or timezone.now()).timestamp()
    event = RequestEvent(f"spent_{next(_numbers)}", moment, "POST", "/v1/x", 200, "complete", 1.0, requests=1, **whose)
    event.cost_picousd = int(Decimal(usd) * 10**12)
    write_events([event])
