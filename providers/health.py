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


def note_traffic(now: datetime) -> list[Finding]:
    """Keep what the last minutes' requests say of the enabled providers: the newest was served, or the last few all
    failed. What they do not tell stays. Raises `DatabaseError`.
    """
    providers = {provider.name: provider for provider in load_catalog(settings.UPSTREAM_CREDENTIALS).providers}
    findings = []
    for name, seen in LATEST_TRAFFIC()(providers, now).items():
        if seen.served[0]:
            findings.append(Finding(providers[name], OK, seen.latency_ms, "", seen.at))
        elif len(seen.served) >= FAILURES and not any(seen.served):
            problem = f"The last {len(seen.served)} requests failed, the newest with {seen.status}."
            findings.append(Finding(providers[name], DOWN, seen.latency_ms, problem, seen.at))
    for finding in findings:
        keep(finding)
    return findings


def keep(finding: Finding) -> None:
    """`since` moves when the status changes, and only then."""
    told = {"latency_ms": finding.latency_ms, "error": finding.error, "checked_at": finding.checked_at}
    same = ProviderHealth.objects.filter(provider_id=finding.provider.id, status=finding.status)
    if same.update(**told):
        return
    try:
        with transaction.atomic():
            ProviderHealth.objects.update_or_create(
                provider_id=finding.provider.id,
                defaults={"status": finding.status, "since": finding.checked_at, **told},
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
    found: ProviderHealth | None = getattr(provider, "health", None)
    if found is None:
        return Health(provider.name, UNKNOWN, None, None, None, "")
    return Health(provider.name, found.status, found.latency_ms, found.since, found.checked_at, found.error)
