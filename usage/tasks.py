"""The periodic tasks of this app."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from shown.words import counted
from usage.alerts.tasks import look_for_alerts, send_waiting_alerts
from usage.audit.prune import prune
from usage.bodies.prune import prune_bodies as prune_old_bodies
from usage.dispatch.tasks import dispatch_configured
from usage.ledger.partitions import make_ahead
from usage.ledger.retention import prune_requests as prune_old_requests
from usage.ledger.totals import forget_slots
from usage.rollups.check import check

CHECKED_DAYS = 8
"""Events come later than this only if a person brings them."""


@shared_task
def prune_totals() -> str:
    """Delete totals by the quarter of an hour that are older than any period of a budget."""
    return f"{forget_slots(timezone.now())} deleted"


@shared_task
def prune_audit() -> str:
    """Delete audit entries older than AUDIT_RETENTION_DAYS. By default nothing is deleted."""
    if not settings.AUDIT_RETENTION_DAYS:
        return ""
    return f"{prune(timezone.now() - timedelta(days=settings.AUDIT_RETENTION_DAYS))} deleted"


@shared_task
def check_rollups() -> str:
    """Compare the last days' sums with the ledger, repair what differs, and log it."""
    differences = check(timezone.now().date() - timedelta(days=CHECKED_DAYS), repair=True)
    return f"{counted(len(differences), 'day')} mended"


@shared_task
def make_partitions() -> str:
    """Make the partitions of the coming weeks (PostgreSQL)."""
    return f"{len(make_ahead())} made"


@shared_task
def prune_requests() -> str:
    """Delete requests older than REQUEST_RETENTION_DAYS. By default nothing is deleted."""
    pruned = prune_old_requests()
    return f"{counted(len(pruned.partitions), 'partition')} dropped, {counted(pruned.rows, 'row')} deleted"


@shared_task
def prune_bodies() -> str:
    """Delete captured bodies older than BODY_RETENTION_DAYS."""
    return f"{prune_old_bodies()} deleted"


@shared_task
def alert() -> str:
    """Find the budgets and soft thresholds that were reached, and send the alerts that are due."""
    return f"{look_for_alerts()} new, {send_waiting_alerts()} sent"


@shared_task
def dispatch() -> dict[str, int]:
    """Deliver what waits for each dispatcher of DISPATCH_TO. This is for a worker that reads the journal in Redis.

    It is not on the schedule, because the process beside each server delivers all the time.
    """
    return dispatch_configured()
