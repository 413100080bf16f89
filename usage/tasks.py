"""What happens to the ledger's numbers and the audit log by the clock."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from usage.audit.prune import prune
from usage.rollups.check import check
from usage.totals import forget_slots

CHECKED_DAYS = 8
"""As late as an event may come without somebody having brought it."""


@shared_task
def prune_totals() -> str:
    """Delete the quarters of an hour that no period of a budget reaches back to."""
    return f"{forget_slots(timezone.now())} deleted"


@shared_task
def prune_audit() -> str:
    """Shorten the audit log to AUDIT_RETENTION_DAYS; by default nothing is ever deleted."""
    if not settings.AUDIT_RETENTION_DAYS:
        return ""
    return f"{prune(timezone.now() - timedelta(days=settings.AUDIT_RETENTION_DAYS))} deleted"


@shared_task
def check_rollups() -> str:
    """Compare the last days' sums with the ledger, and mend what differs; the log tells of it."""
    found = check(timezone.now().date() - timedelta(days=CHECKED_DAYS), repair=True)
    return f"{len(found)} days mended"
