"""What was spent, according to the ledger. This app reaches the ledger through a port (`ports.py`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone

from keys.limits.periods import span_at
from keys.models import Limited
from keys.models.usd import picousd, usd
from keys.ports import LEDGER
from keys.scopes import KINDS


class Spending(NamedTuple):
    """Where a budget stands. `remaining` is never below 0, even if the budget was lowered."""

    spent: Decimal
    remaining: Decimal
    resets_at: datetime | None

    def percent_of(self, budget: Decimal) -> float:
        return round(float(100 * self.spent / budget), 2) if budget else 100.0


def requests_today(ids: Collection[int]) -> Mapping[int, int]:
    """Requests since midnight UTC by the key's id, without refused ones. Keys without any may be missing."""
    return LEDGER().requests_of_keys(ids, timezone.now()) if ids else {}


def spending_of(rows: Collection[Any], now: datetime) -> dict[int, Spending]:
    """Spending by primary key, for the rows that have a budget. All rows must be of one model."""
    budgeted: list[Limited] = [row for row in rows if row.budget is not None]
    if not budgeted:
        return {}
    spent = LEDGER().spent_of(KINDS[type(budgeted[0])], [row.pk for row in budgeted], now)
    return {row.pk: _spending(row, spent.get(row.pk, 0), now) for row in budgeted}


def _spending(row: Limited, spent: int, now: datetime) -> Spending:
    end = span_at(row.period, row.time_zone or settings.BUDGET_TIME_ZONE, now.timestamp()).end
    return Spending(
        spent=usd(spent),
        remaining=usd(max(picousd(row.budget) - spent, 0)),
        resets_at=None if end is None else datetime.fromtimestamp(end, UTC),
    )
