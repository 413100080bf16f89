"""Health checks of providers: each enabled provider gets one cheap request, with the credential of its real ones."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import httpx
from django.conf import settings

from providers.catalog import Catalog, CredentialUnavailable, ProviderRecord, load_catalog
from providers.health import DOWN, OK, Finding, keep
from providers.kinds.base import Headers, read_lines
from providers.models import ProviderHealth

TIMEOUT_S = 10.0
AT_ONCE = 16
NO_SUCH_PATH = frozenset({404, 405, 501})
"""The statuses of a server that is up but has no list of models."""


def check_providers() -> list[Finding]:
    """Check every enabled provider, keep the findings, and return them. Raises `DatabaseError`.

    A provider with the option `health_path: false` is not checked. `AT_ONCE` providers are checked at a time, and each
    may take `TIMEOUT_S`. This function starts an event loop, so it must not be called on one.
    """
    catalog = load_catalog(settings.UPSTREAM_CREDENTIALS)
    findings = asyncio.run(ask_all(catalog))
    for finding in findings:
        keep(finding)
    provider_ids = [finding.provider.id for finding in findings]
    # An earlier finding about a provider that is no longer checked would be out of date.
    ProviderHealth.objects.exclude(provider_id__in=provider_ids).delete()
    return findings


async def ask_all(catalog: Catalog) -> list[Finding]:
    gate = asyncio.Semaphore(AT_ONCE)
    timeout = httpx.Timeout(TIMEOUT_S, connect=min(TIMEOUT_S, settings.CONNECT_TIMEOUT_SECS))
    async with httpx.AsyncClient(verify=settings.VERIFY_SSL, timeout=timeout) as client:

        async def one(provider: ProviderRecord) -> Finding:
            async with gate:
                return await ask(client, catalog, provider)

        providers = [provider for provider in catalog.providers if provider.kind.health_path(provider.options)]
        return list(await asyncio.gather(*map(one, providers)))


async def ask(client: httpx.AsyncClient, catalog: Catalog, provider: ProviderRecord) -> Finding:
    """Send one request, and read no more of the answer than its head."""
    now = datetime.now(UTC)
    if provider.origin is None:
        return Finding(provider, OK, 0.0, "", now)  # the simulator inside the process is always there
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
    """The problem that an answer's status shows, as a sentence; "" if the provider can serve requests.

    `configured`: the operator has chosen the path, so a status in `NO_SUCH_PATH` is a problem too.
    """
    if status < 300 or status == 429:
        return ""
    if status in (401, 403):
        return f"It refuses the credential ({status})."
    if status in NO_SUCH_PATH and not configured:
        return ""
    return f"It answered {status}."
