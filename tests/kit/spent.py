"""Finished requests with a cost, written to the ledger as the ledger process writes them."""

from __future__ import annotations

import itertools
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone

from strict.units import PICO
from usage.event import RequestEvent
from usage.ledger.write import write_events

_numbers = itertools.count()


def spend(usd: str | None, *, at: datetime | None = None, **fields: Any) -> None:
    """Write one finished request: `spend("0.5", key=1)`. None: its cost is unknown."""
    moment, path = (at or timezone.now()).timestamp(), "/v1/chat/completions"
    event = RequestEvent(f"spent_{next(_numbers)}", moment, "POST", path, 200, "complete", 1.0, requests=1, **fields)
    event.cost_picousd = None if usd is None else int(Decimal(usd) * PICO)
    write_events([event])
