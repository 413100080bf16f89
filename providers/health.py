"""Whether the providers are there, as the last requests to them tell, or a check (`checks.py`).

What was found is kept in the database (`ProviderHealth`), where every process and the admin read it.
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
"""In a row, and a provider is taken for down."""

OK, DOWN, UNKNOWN = HealthStatus.OK, HealthStatus.DOWN, "unknown"


class Finding(NamedTuple):
    """What was found. `error` has no part of an answer or a credential in it."""

    provider: ProviderRecord
    status: HealthStatus
    latency_ms: float | None
    """Until the head of its answer; None where none came."""
    error: str
    checked_at: datetime


def record_traffic(now: datetime) -> list[Finding]:
    """Keep what the last minutes' requests say of the enabled providers: the newest was served, or the last few all
    failed. What they do not tell stays. Raises `DatabaseError`.
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
    """`since` moves when the status changes, and only then."""
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
            raise  # else it was deleted while it was asked


class Health(NamedTuple):
    """What is known of an enabled provider. `status` is `ok`, `down` or, where it was never asked, `unknown`."""

    provider: str
    status: str
    latency_ms: float | None
    since: datetime | None
    checked_at: datetime | None
    error: str


def health_of_providers() -> Sequence[Health]:
    """The enabled providers as they were last found. Raises `DatabaseError`."""
    rows = Provider.objects.filter(is_enabled=True).select_related("health").order_by("priority", "name")
    return [health_of(row) for row in rows]


def health_of(provider: Provider) -> Health:
    row: ProviderHealth | None = getattr(provider, "health", None)
    if row is None:
        return Health(provider.name, UNKNOWN, None, None, None, "")
    return Health(provider.name, row.status, row.latency_ms, row.since, row.checked_at, row.error)
