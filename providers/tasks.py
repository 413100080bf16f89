"""The periodic task of this app."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from providers.health import record_traffic
from providers.models import HealthStatus


@shared_task
def look_at_providers() -> str:
    """Find the health of the providers: with PROVIDER_CHECKS by asking each one, else from the latest requests."""
    if settings.PROVIDER_CHECKS:
        from providers.checks import check_providers

        findings = check_providers()
    else:
        findings = record_traffic(timezone.now())
    return f"{len(findings)} known, {sum(each.status == HealthStatus.DOWN for each in findings)} down"
