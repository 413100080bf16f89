"""What keys, users, teams and projects have spent and used, according to the ledger.

For the ports of `keys`, `usage`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, QuerySet, Sum

from keys.limits.counters.budget import threshold_of
from keys.limits.periods import span_at
from keys.models import Account, GlobalLimits, Limited, Project, Team, VirtualKey
from keys.ports import ModelUsage
from keys.scopes import limits_of
from usage.ledger.totals import GLOBAL, HALF, exact_sums, spent_since
from usage.models import DayRollup, HourRollup, Outcome, RequestRecord
from usage.ports import Budget

MOST_IDS = 10_000
"""The most ids in one statement. SQLite allows 32,766 parameters."""

MODELS: dict[str, type[Limited]] = {"key": VirtualKey, "user": Account, "team": Team, "project": Project}


def spent_of(kind: str, ids: Collection[int], now: datetime) -> Mapping[int, int]:
    """See `keys.ports.Ledger`."""
    if kind == "global":
        row = GlobalLimits.current()
        since = period_start(row.period, row.time_zone, now)
        return {row.pk: spent_since(GLOBAL[0], [GLOBAL[1]], since).get(GLOBAL[1], 0)}
    by_start: defaultdict[int, list[str]] = defaultdict(list)
    rows = MODELS[kind]._default_manager.filter(pk__in=ids).values_list("pk", "period", "time_zone")
    for pk, period, time_zone in rows:
        by_start[period_start(period, time_zone, now)].append(str(pk))
    spent: dict[int, int] = {}
    for start, idents in by_start.items():
        spent |= {int(ident): picousd for ident, picousd in spent_since(kind, idents, start).items()}
    return spent


def budgets_of(kind: str, idents: Collection[str], now: datetime) -> list[Budget]:
    """See `usage.ports.BudgetsOf`."""
    if kind == GLOBAL[0]:
        gateway = GlobalLimits.current()
        return [_budget(gateway, "this gateway", None, now)] if gateway.budget else []
    model = MODELS.get(kind)
    if model is None:
        return []
    ids = [int(ident) for ident in idents]
    if model is Account:
        accounts = Account.objects.filter(pk__in=ids, budget__gt=0).select_related("user")
        return [_budget(account, account.user.get_username(), account.pk, now) for account in accounts]
    rows = model._default_manager.filter(pk__in=ids, budget__gt=0)
    return [_budget(row, str(row), getattr(row, "owner_id", None), now) for row in rows]


def _budget(row: Limited, name: str, owner: int | None, now: datetime) -> Budget:
    limits = limits_of(row)
    span = span_at(limits.period, limits.time_zone, now.timestamp())
    assert limits.budget is not None
    return Budget(
        ident=str(row.pk),
        name=name,
        owner=owner,
        budget=limits.budget,
        threshold=threshold_of(limits),
        period=limits.period,
        since=span.start,
        until=span.end,
    )


def period_start(period: str, time_zone: str, now: datetime) -> int:
    """The start of the period in Unix seconds; 0 for the period `total`."""
    return span_at(period, time_zone or settings.BUDGET_TIME_ZONE, now.timestamp()).start


def usage_of_key(key_id: int, since: datetime) -> list[ModelUsage]:
    """See `keys.ports.Ledger`.

    Whole hours and days come from the sums; the first, partial hour from the ledger's rows.
    """
    hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    first_hour = hour if hour == since else hour + timedelta(hours=1)
    midnight = first_hour.replace(hour=0)
    first_day = midnight if midnight == first_hour else midnight + timedelta(days=1)
    of_models: defaultdict[str, Counter[str]] = defaultdict(Counter)
    hours = HourRollup.objects.filter(at__gte=first_hour, at__lt=first_day)
    days = DayRollup.objects.filter(at__gte=first_day)
    summed = Sum("requests") - Sum("refused"), Sum("unpriced")
    uncounted_hour = RequestRecord.objects.between(since, first_hour).exclude(outcome=Outcome.REFUSED)
    counted = Count("pk"), Count("pk", filter=Q(cost_picousd__isnull=True))
    upper, lower = exact_sums("cost_picousd")
    parts: list[tuple[QuerySet[Any], Any, Any]] = [(uncounted_hour, *counted), (hours, *summed), (days, *summed)]
    for rows, requests, unpriced in parts:
        sums = rows.filter(key_id=key_id).order_by().values("model")
        for row in sums.annotate(
            count=requests,
            prompt=Sum("prompt_tokens"),
            completion=Sum("completion_tokens"),
            cost_upper=upper,
            cost_lower=lower,
            unknown=unpriced,
        ):
            of_models[row.pop("model")].update({name: int(value or 0) for name, value in row.items()})
    usages = [
        ModelUsage(
            model,
            of["count"],
            of["prompt"],
            of["completion"],
            of["cost_upper"] * HALF + of["cost_lower"],
            of["unknown"],
        )
        for model, of in of_models.items()
        if of["count"]  # at 0, all were refused
    ]
    return sorted(usages, key=lambda usage: (-usage.requests, usage.model))


def requests_of_keys(ids: Collection[int], now: datetime) -> Mapping[int, int]:
    """See `keys.spending.requests_today`."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    today = DayRollup.objects.filter(at=midnight).order_by()
    if len(ids) <= MOST_IDS:
        today = today.filter(key_id__in=ids)
    wanted = frozenset(ids)
    rows = today.values_list("key_id").annotate(Sum("requests"), Sum("refused"))
    return {key: int(requests - refused) for key, requests, refused in rows if key in wanted}
