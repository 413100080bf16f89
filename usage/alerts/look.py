"""Find the budgets that were reached.

The transaction that changes a total also marks it (`ScopeTotal.unseen`). So no change is missed if a process dies, and
unchanged totals are not read. A mark is removed only if the total has not changed since it was read. Processes that
find the same alert at the same time insert the same row, and one of them succeeds.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from shown.money import exact
from usage.alerts.alert import Alert, AlertDelivery, Level
from usage.alerts.channels import channels_in_use
from usage.ledger.totals import EVER, spent_since
from usage.ports import BUDGETS_OF, Budget
from usage.prices.price import MOST_PICOUSD
from usage.records import ScopeTotal

log = logging.getLogger("sluice.alerts")

LATE = timedelta(hours=1)
"""A period is checked for so long after its end, because its last rows may reach the ledger after it has ended."""

LOOKED_AT_ONCE = 500
MARKED_AT_ONCE = 100


def look(now: datetime) -> int:
    """Write an alert for each budget that was reached. Return how many are new. Raises `DatabaseError`."""
    count = 0
    for moved in _moved_totals():
        by_kind: defaultdict[str, list[str]] = defaultdict(list)
        for total in moved:
            by_kind[total.kind].append(total.ident)
        for kind, idents in by_kind.items():
            count += _look_at(kind, idents, now)
        _mark_seen(moved)
    return count


def _moved_totals() -> Iterator[list[ScopeTotal]]:
    """Yield pages of the totals that have changed, each total once. Later changes are for the next call."""
    kind, ident = "", ""
    while True:
        behind = Q(kind__gt=kind) | Q(kind=kind, ident__gt=ident)
        page = list(
            ScopeTotal.objects.filter(behind, slot=EVER, unseen=True).order_by("kind", "ident")[:LOOKED_AT_ONCE]
        )
        if not page:
            return
        yield page
        kind, ident = page[-1].kind, page[-1].ident


def _mark_seen(totals: Sequence[ScopeTotal]) -> None:
    for start in range(0, len(totals), MARKED_AT_ONCE):
        unmoved = Q()
        for total in totals[start : start + MARKED_AT_ONCE]:
            as_it_was = {"cost_millions": total.cost_millions, "cost_picousd": total.cost_picousd}
            unmoved |= Q(kind=total.kind, ident=total.ident, **as_it_was)
        ScopeTotal.objects.filter(unmoved, slot=EVER).update(unseen=False)


def _look_at(kind: str, idents: Sequence[str], now: datetime) -> int:
    by_span: defaultdict[tuple[int, int | None], dict[str, Budget]] = defaultdict(dict)
    for moment in (now - LATE, now):
        for budget in BUDGETS_OF()(kind, idents, moment):
            by_span[budget.since, budget.until][budget.ident] = budget
    reached: list[Alert] = []
    for (since, until), budgets in by_span.items():
        spent = spent_since(kind, list(budgets), since)
        if until is not None and until <= now.timestamp():
            later = spent_since(kind, list(budgets), until)
            spent = {ident: amount - later.get(ident, 0) for ident, amount in spent.items()}
        for ident, budget in budgets.items():
            reached += reached_of(kind, budget, spent.get(ident, 0), now)
    existing = _existing_identities(kind, reached)
    return sum(_make(alert, now) for alert in reached if _identity(alert) not in existing)


def reached_of(kind: str, budget: Budget, spent: int, now: datetime) -> list[Alert]:
    """Return the alerts for a budget and its threshold.

    A limit of 0 makes no alert. A threshold that is the whole budget makes only the budget's alert.
    """
    limits = [(Level.THRESHOLD, budget.threshold), (Level.BUDGET, budget.budget)]
    return [
        Alert(
            created_at=now,
            level=level,
            kind=kind,
            ident=budget.ident,
            name=budget.name[:200],
            user_id=budget.owner,
            period=budget.period,
            since=budget.since,
            until=budget.until,
            budget_picousd=budget.budget,
            limit_picousd=limit,
            spent_picousd=min(spent, MOST_PICOUSD),  # the most that the column holds: the message then shows too little
        )
        for level, limit in limits
        if 0 < limit <= spent and not (level == Level.THRESHOLD and limit >= budget.budget)
    ]


def _identity(alert: Alert) -> tuple[str, str, str, int, int]:
    return alert.ident, alert.level, alert.period, alert.since, alert.limit_picousd


def _existing_identities(kind: str, alerts: Sequence[Alert]) -> set[tuple[str, str, str, int, int]]:
    if not alerts:
        return set()
    idents = {alert.ident for alert in alerts}
    oldest = min(alert.since for alert in alerts)
    rows = Alert.objects.filter(kind=kind, ident__in=idents, since__gte=oldest).order_by()
    return {_identity(alert) for alert in rows}


def _make(alert: Alert, now: datetime) -> int:
    """Write an alert. Return 1 if it is new, and 0 if another process has just written it."""
    try:
        with transaction.atomic():
            alert.save(force_insert=True)
            AlertDelivery.objects.bulk_create(
                AlertDelivery(alert=alert, channel=name, next_try_at=now) for name in channels_in_use()
            )
    except IntegrityError:
        return 0
    log.warning(
        "Budget alert: %s %r has spent %s in its period (%s); %s: %s.",
        alert.kind, alert.name, exact(alert.spent_usd), alert.period, alert.get_level_display(), exact(alert.limit_usd),
    )  # fmt: skip
    return 1
