"""Deliver alerts by each channel, with retries.

A process claims a delivery for two minutes before it makes it, so that only one process does. It is sent twice only if
the process died or lost the database between the delivery and the update of its row.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db.models import F
from django.utils import timezone

from usage.alerts.alert import AlertDelivery
from usage.alerts.channels import CHANNELS
from usage.sending.backoff import Backoff
from usage.sending.post import Later, NotDelivered

log = logging.getLogger("sluice.alerts")

CLAIMED = timedelta(seconds=120)
"""How long a delivery is claimed: longer than any attempt may take."""

BACKOFF = Backoff(first_s=5.0, most_s=3600.0)
GIVE_UP_AFTER = timedelta(days=3)
SENT_AT_ONCE = 200


def send(now: datetime) -> int:
    """Make the deliveries that are due. Return how many arrived. Raises `DatabaseError`."""
    due = AlertDelivery.objects.filter(next_try_at__lte=now).select_related("alert").order_by("next_try_at")
    return sum(_send(delivery) for delivery in due[:SENT_AT_ONCE])


def _send(delivery: AlertDelivery) -> bool:
    now = timezone.now()
    ours = AlertDelivery.objects.filter(pk=delivery.pk, next_try_at=delivery.next_try_at)
    if not ours.update(next_try_at=now + CLAIMED, attempts=F("attempts") + 1):
        return False
    row = AlertDelivery.objects.filter(pk=delivery.pk)
    try:
        CHANNELS[delivery.channel]().tell(delivery.alert)
    except NotDelivered as error:
        _put_off(delivery, error)
        return False
    row.update(sent_at=timezone.now(), next_try_at=None, error="")
    return True


def _put_off(delivery: AlertDelivery, error: NotDelivered) -> None:
    now = timezone.now()
    wait = BACKOFF.wait_s(delivery.attempts + 1, error.retry_after_s if isinstance(error, Later) else None)
    next_try_at = now + timedelta(seconds=wait)
    is_over = next_try_at - delivery.alert.created_at > GIVE_UP_AFTER
    log.log(
        logging.ERROR if is_over else logging.WARNING,
        "Alert %d cannot be told by %s: %s. %s",
        delivery.alert_id, delivery.channel, error, "It is given up." if is_over else f"Next try in {wait:.0f} s.",
    )  # fmt: skip
    AlertDelivery.objects.filter(pk=delivery.pk).update(
        next_try_at=None if is_over else next_try_at, error=str(error)[:200]
    )
