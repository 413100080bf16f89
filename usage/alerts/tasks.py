"""What is called by the clock, every few seconds. Each may run in several processes at once."""

from __future__ import annotations

from django.utils import timezone

from usage.alerts.look import look
from usage.alerts.send import send


def look_for_alerts() -> int:
    """Write down which budgets and soft thresholds were reached. Returns how many alerts are new.

    Costs one look into an index where nothing moved. Raises `DatabaseError`; what was not found is found the next time.
    """
    return look(timezone.now())


def send_waiting_alerts() -> int:
    """Tell of what is due. Returns how many arrived; the others are tried again later. Raises `DatabaseError`."""
    return send(timezone.now())
