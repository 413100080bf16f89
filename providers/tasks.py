"""What happens to providers by the clock."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from providers.health import record_traffic
from providers.models import HealthStatus


@shared_task
def look_at_providers() -> str:
    """Note what requests tell of the providers, and with PROVIDER_CHECKS ask each of them."""
    if settings.PROVIDER_CHECKS:
        from providers.checks import check_providers

        findings = check_providers()
    else:
        findings = record_traffic(timezone.now())
    return f"{len(findings)} known, {sum(each.status == HealthStatus.DOWN for each in findings)} down"
