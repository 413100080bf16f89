"""The contract of a channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from shown.money import about, exact, machine
from usage.alerts.alert import Alert, Level


class Channel(ABC):
    """Tells of one alert. It carries the alert's number, so that who gets it twice after a crash knows it again."""

    @staticmethod
    @abstractmethod
    def is_set_up() -> bool:
        """Whether the settings say where to."""

    @abstractmethod
    def tell(self, alert: Alert) -> None:
        """Returns when the other side has it. Raises `NotDelivered`, with a text that holds no secret."""


def document_of(alert: Alert) -> dict[str, Any]:
    """As in `/api/alerts`; dollars as decimals in text."""
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
    """One line for people, whatever stands in the name."""
    who = "The gateway" if alert.kind == "global" else f"The {alert.kind} {alert.name!r}"
    share = f"{about(alert.spent_usd)} of {exact(alert.budget_usd)}"
    when = "" if alert.period == "total" else f" for this {alert.period}"
    if alert.level == Level.BUDGET:
        return f"{who} has used up its budget{when}: {share}. Requests are refused."
    return f"{who} has spent {share} of its budget{when}."
