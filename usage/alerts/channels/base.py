"""The base class of channels, and the texts that they send."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from shown.money import about, exact, machine
from usage.alerts.alert import Alert, Level


class Channel(ABC):
    """Delivers one alert. A message contains the alert's id, so that receivers can detect a duplicate after a crash."""

    @staticmethod
    @abstractmethod
    def is_set_up() -> bool:
        """Whether the settings have a destination."""

    @abstractmethod
    def tell(self, alert: Alert) -> None:
        """Deliver an alert. Raises `NotDelivered`, with a message that contains no secret."""


def document_of(alert: Alert) -> dict[str, Any]:
    """Return the alert as in `/api/alerts`, with dollars as decimals in text."""
    start, end = alert.period_start, alert.period_end
    return {
        "id": alert.pk,
        "created_at": alert.created_at.isoformat(timespec="milliseconds"),
        "level": alert.level,
        "scope": alert.kind,
        "scope_id": alert.ident,
        "name": alert.name,
        "period": alert.period,
        "period_start": start and start.isoformat(),
        "period_end": end and end.isoformat(),
        "budget_usd": machine(alert.budget_usd),
        "limit_usd": machine(alert.limit_usd),
        "spent_usd": machine(alert.spent_usd),
    }


def sentence_of(alert: Alert) -> str:
    """Return one line for people. The name is quoted, because it may contain any characters."""
    who = "The gateway" if alert.kind == "global" else f"The {alert.kind} {alert.name!r}"
    share = f"{about(alert.spent_usd)} of {exact(alert.budget_usd)}"
    when = "" if alert.period == "total" else f" for this {alert.period}"
    if alert.level == Level.BUDGET:
        return f"{who} has used up its budget{when}: {share}. Requests are refused."
    return f"{who} has spent {share} of its budget{when}."
