"""Whether the providers are there, as the last requests to them tell; or, where that is wanted, a check that asks each
enabled one something cheap, with the credential that it is paid with.

What was found is kept in the database (`ProviderHealth`), where every process and the admin read it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import httpx
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.module_loading import import_string

from providers.catalog import Catalog, CredentialUnavailable, ProviderRecord, load_catalog
from providers.kinds.base import Headers, read_lines
from providers.models import HealthStatus, Provider, ProviderHealth

TIMEOUT_S = 10.0
FAILURES = 3
"""In a row, and a provider is taken for down."""

AT_ONCE = 16
OK, DOWN, UNKNOWN = HealthStatus.OK, HealthStatus.DOWN, "unknown"
NOT_KNOWN_THERE = frozenset({404, 405, 501})
"""What a server says that has no list of models, and is there all the same."""


class Finding(NamedTuple):
    """What a check found. `error` has no part of an answer or a credential in it."""

    provider: ProviderRecord
    status: HealthStatus
    latency_ms: float | None
    """Until the head of its answer; None where none came."""
    error: str
    checked_at: datetime


def check_providers() -> list[Finding]:
    """Ask every enabled provider, keep what they say, and tell it. Takes up to `TIMEOUT_S`, not on an event loop.

    One with the option `health_path: false` is not asked. Raises `DatabaseError`.
    """
    catalog = load_catalog(settings.UPSTREAM_CREDENTIALS)
    findings = asyncio.run(ask_all(catalog))
    for finding in findings:
        keep(finding)
    asked = [finding.provider.id for finding in findings]
    ProviderHealth.objects.exclude(provider_id__in=asked).delete()  # what is not asked is not known
    return findings


def note_traffic(now: datetime) -> list[Finding]:
    """Keep what the last minutes' requests say of the enabled providers: the newest was served, or the last few all
    failed. What they do not tell stays. Raises `DatabaseError`.
    """
    providers = {provider.name: provider for provider in load_catalog(settings.UPSTREAM_CREDENTIALS).providers}
    findings = []
    for name, seen in import_string(settings.TRAFFIC_OF_PROVIDERS)(providers, now).items():
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


async def ask_all(catalog: Catalog) -> list[Finding]:
    gate = asyncio.Semaphore(AT_ONCE)
    timeout = httpx.Timeout(TIMEOUT_S, connect=min(TIMEOUT_S, settings.CONNECT_TIMEOUT_SECS))
    async with httpx.AsyncClient(verify=settings.VERIFY_SSL, timeout=timeout) as client:

        async def one(provider: ProviderRecord) -> Finding:
            async with gate:
                return await ask(client, catalog, provider)

        asked = [provider for provider in catalog.providers if provider.kind.health_path(provider.options)]
        return list(await asyncio.gather(*map(one, asked)))


async def ask(client: httpx.AsyncClient, catalog: Catalog, provider: ProviderRecord) -> Finding:
    """One request, of which no more than the answer's head is read."""
    now = datetime.now(UTC)
    if provider.origin is None:
        return Finding(provider, OK, 0.0, "", now)  # it answers in the process
    try:
        headers = read_lines(catalog.access(provider, "").lines)
    except CredentialUnavailable as error:
        return Finding(provider, DOWN, None, str(error), now)
    began = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            status = await status_of(client, provider, headers)
    except TimeoutError:
        return Finding(provider, DOWN, None, f"No answer within {TIMEOUT_S:g} seconds.", now)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Finding(provider, DOWN, None, f"No answer ({type(error).__name__}).", now)
    latency_ms = round((time.monotonic() - began) * 1000, 3)
    problem = problem_of(status, configured="health_path" in provider.options)
    return Finding(provider, DOWN if problem else OK, latency_ms, problem, now)


async def status_of(client: httpx.AsyncClient, provider: ProviderRecord, headers: Headers) -> int:
    rest = provider.kind.health_path(provider.options) or ""
    path = provider.kind.path(provider.base_path, rest, "", "", provider.options)
    scheme = provider.base_url.partition("://")[0]
    url = f"{scheme}://{provider.host_header.decode()}{path}"
    async with client.stream("GET", url, headers=[*headers, (b"accept", b"application/json")]) as answer:
        return answer.status_code


def problem_of(status: int, *, configured: bool) -> str:
    """What an answer's status says against the provider; nothing where it would serve."""
    if status < 300 or status == 429:
        return ""
    if status in (401, 403):
        return f"It refuses the credential ({status})."
    if status in NOT_KNOWN_THERE and not configured:
        return ""
    return f"It answered {status}."


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
