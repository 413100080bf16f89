"""Periodic tasks of alerts, called every few seconds. Each may run in several processes at once."""

from __future__ import annotations

from django.utils import timezone

from usage.alerts.look import look
from usage.alerts.send import send


def look_for_alerts() -> int:
    """Write an alert for each budget and soft threshold that was reached. Return how many are new.

    If no total has changed, this costs one look-up in an index. Raises `DatabaseError`; the next call then finds the
    rest.
    """
    return look(timezone.now())


def send_waiting_alerts() -> int:
    """Make the deliveries that are due. Return how many arrived; the others are retried. Raises `DatabaseError`."""
    return send(timezone.now())
