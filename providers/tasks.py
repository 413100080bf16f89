"""What happens to providers by the clock."""

from __future__ import annotations

from celery import shared_task

from providers import health
from providers.models import HealthStatus


@shared_task
def check_providers() -> str:
    """Ask every enabled provider whether it is there."""
    found = health.check_providers()
    return f"{len(found)} asked, {sum(each.status == HealthStatus.DOWN for each in found)} down"
