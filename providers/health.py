"""The health of providers, found from the latest requests to them or from a check (`checks.py`).

The findings are kept in the database (`ProviderHealth`), where every process and the admin read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction

from providers.catalog import ProviderRecord, load_catalog
from providers.models import HealthStatus, Provider, ProviderHealth
from providers.ports import LATEST_TRAFFIC

FAILURES = 3
"""A provider is down after so many failures in a row."""

OK, DOWN, UNKNOWN = HealthStatus.OK, HealthStatus.DOWN, "unknown"


class Finding(NamedTuple):
    """What was found about a provider. `error` contains no part of an answer or of a credential."""

    provider: ProviderRecord
    status: HealthStatus
    latency_ms: float | None
    """Until the head of the provider's answer came; None if none came."""
    error: str
    checked_at: datetime


def record_traffic(now: datetime) -> list[Finding]:
    """Keep what the requests of the last minutes say about the enabled providers. Raises `DatabaseError`.

    A provider is `ok` if its newest request was served, and `down` if the last `FAILURES` requests failed. In all other
    cases the earlier finding stays.
    """
    providers = {provider.name: provider for provider in load_catalog(settings.UPSTREAM_CREDENTIALS).providers}
    findings = []
    for name, traffic in LATEST_TRAFFIC()(providers, now).items():
        if traffic.served[0]:
            findings.append(Finding(providers[name], OK, traffic.latency_ms, "", traffic.at))
        elif len(traffic.served) >= FAILURES and not any(traffic.served):
            problem = f"The last {len(traffic.served)} requests failed, the newest with {traffic.status}."
            findings.append(Finding(providers[name], DOWN, traffic.latency_ms, problem, traffic.at))
    for finding in findings:
        keep(finding)
    return findings


def keep(finding: Finding) -> None:
    """Store the finding. `since` changes only if the status changes."""
    fields = {"latency_ms": finding.latency_ms, "error": finding.error, "checked_at": finding.checked_at}
    same = ProviderHealth.objects.filter(provider_id=finding.provider.id, status=finding.status)
    if same.update(**fields):
        return
    try:
        with transaction.atomic():
            ProviderHealth.objects.update_or_create(
                provider_id=finding.provider.id,
                defaults={"status": finding.status, "since": finding.checked_at, **fields},
            )
    except IntegrityError:
        if Provider.objects.filter(pk=finding.provider.id).exists():
            raise  # otherwise the provider was deleted during the check


class Health(NamedTuple):
    """What is known about a provider. `status` is `ok` or `down`, or `unknown` if there is no finding."""

    provider: str
    status: str
    latency_ms: float | None
    since: datetime | None
    checked_at: datetime | None
    error: str


def health_of_providers() -> Sequence[Health]:
    """The latest finding about each enabled provider. Raises `DatabaseError`."""
    rows = Provider.objects.filter(is_enabled=True).select_related("health").order_by("priority", "name")
    return [health_of(row) for row in rows]


def health_of(provider: Provider) -> Health:
    row: ProviderHealth | None = getattr(provider, "health", None)
    if row is None:
        return Health(provider.name, UNKNOWN, None, None, None, "")
    return Health(provider.name, row.status, row.latency_ms, row.since, row.checked_at, row.error)
