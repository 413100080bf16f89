"""What was spent, asked of whoever counts it.

This app does not know the ledger. The settings SPENT_OF, USAGE_OF_KEY and REQUESTS_OF_KEYS name the callables that do;
without them nothing was spent and nothing used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from keys.limits.periods import span_at
from keys.models import Limited
from keys.models.usd import picousd, usd
from keys.scopes import KINDS


class ModelUsage(NamedTuple):
    """What one model was used for. Refused requests are not among them."""

    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_picousd: int
    unpriced_requests: int
    """Requests whose cost is not known; `cost_picousd` leaves them out."""


class Spending(NamedTuple):
    """Where a budget stands. `remaining` is never below 0, also where the budget was lowered since."""

    spent: Decimal
    remaining: Decimal
    resets_at: datetime | None

    def percent_of(self, budget: Decimal) -> float:
        return round(float(100 * self.spent / budget), 2) if budget else 100.0


def spent_of(kind: str, ids: Collection[int], now: datetime) -> Mapping[int, int]:
    """Picodollars by id in the period, by each row's own settings, that `now` is in. Ids that spent nothing may miss.

    `kind` is key, user, team, project or global; `ids` are primary keys.
    """
    if not ids or not settings.SPENT_OF:
        return {}
    found: Mapping[int, int] = import_string(settings.SPENT_OF)(kind, ids, now)
    return found


def usage_of_key(key_id: int, since: datetime) -> Sequence[ModelUsage]:
    """By model, the most used first."""
    if not settings.USAGE_OF_KEY:
        return []
    found: Sequence[ModelUsage] = import_string(settings.USAGE_OF_KEY)(key_id, since)
    return found


def requests_today(ids: Collection[int]) -> Mapping[int, int]:
    """Since midnight in UTC, by the key's id, without refused ones. Keys without any may miss."""
    if not ids or not settings.REQUESTS_OF_KEYS:
        return {}
    found: Mapping[int, int] = import_string(settings.REQUESTS_OF_KEYS)(ids, timezone.now())
    return found


def spending_of(rows: Collection[Any], now: datetime) -> dict[int, Spending]:
    """By primary key, of those rows, all of one model, that have a budget."""
    budgeted: list[Limited] = [row for row in rows if row.budget is not None]
    if not budgeted:
        return {}
    spent = spent_of(KINDS[type(budgeted[0])], [row.pk for row in budgeted], now)
    return {row.pk: _spending(row, spent.get(row.pk, 0), now) for row in budgeted}


def _spending(row: Limited, spent: int, now: datetime) -> Spending:
    end = span_at(row.period, row.time_zone or settings.BUDGET_TIME_ZONE, now.timestamp()).end
    return Spending(
        spent=usd(spent),
        remaining=usd(max(picousd(row.budget) - spent, 0)),
        resets_at=None if end is None else datetime.fromtimestamp(end, UTC),
    )
