"""Make the parts of the data plane from the settings, once for each process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Q, QuerySet

from keys.limits import MemoryLimits
from keys.limits.base import LimitsBackend
from keys.limits.connection import connect
from keys.limits.fallback import FallbackLimits
from keys.models import Project
from providers.environment import sync_provider_from_environment
from proxy.admission.admit import Admission
from proxy.admission.baselines import Baselines
from proxy.bounds import Bounds
from proxy.components import Components
from proxy.configuration.snapshot import Snapshot
from proxy.errors import Unavailable
from proxy.running_cache import RunningCache
from proxy.stored.background import Background
from proxy.stored.owners import LABELS, Owners
from proxy.upstream.client import Upstream
from proxy.wire.coalesced import coalesced_writes_of
from strict.units import VERSION
from usage.bodies.keep import BodyKeeper
from usage.bodies.redact import Redaction
from usage.bodies.show import Showing
from usage.journal.spool import Spool
from usage.journal.subscribers import subscribe
from usage.journal.writer import write_ledger
from usage.ledger.stored import Owner, find_owners
from usage.loops import LOOPS
from usage.models import RequestRecord
from usage.telemetry.metrics import RequestMetrics
from usage.telemetry.request_log import RequestLog

if TYPE_CHECKING:
    from usage.telemetry.traces import Traces

log = logging.getLogger("sluice.proxy")


SEGMENT_BYTES = 16 * 1024 * 1024
MOST_ROWS = 10_000
"""Rows that are read to find who made some responses. A provider that gives one id to more responses has no usable ids.
"""

SHOWN_ERROR_BYTES = 4096
"""Bytes read of a provider's error that is not JSON, with its markup. Less of it is shown."""


class LedgerThread:
    """Writes the ledger if no other process does: under a server that Sluice did not start."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        arguments = (settings.JOURNAL_DIR, self._stopping)
        self._thread = threading.Thread(target=write_ledger, args=arguments, name="ledger", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and return when it is written or given up."""
        self._stopping.set()
        self._thread.join()


async def build_components() -> Components:
    snapshot = Snapshot()
    await snapshot.run(sync_provider_from_environment)
    await snapshot.run(Project.default)  # so that the first request without a key has its project
    await snapshot.start()

    async def look_up_owners(keys: Collection[str], project_id: int | None, in_ledger: bool) -> dict[str, Owner]:
        find = find_in_ledger if in_ledger else find_owners
        try:
            return await snapshot.run(lambda: find(keys, project_id))
        except DatabaseError as error:
            log.warning("Who made a stored object cannot be looked up: %s", type(error).__name__)
            raise Unavailable(
                "database_unavailable",
                "The gateway cannot look up at the moment who made what the request names. Try again shortly.",
                headers=[(b"retry-after", b"1")],
            ) from error

    limits = await build_limits()
    if settings.DISPATCH_WITH_SERVER and not settings.REDIS_URL:
        for target in settings.DISPATCHERS:  # gets all events from the first on, however late its dispatcher starts
            subscribe(settings.JOURNAL_DIR, target.consumer)
    metrics = RequestMetrics((lambda: limits.up) if limits.is_shared else None)
    journal = Spool(
        settings.JOURNAL_DIR,
        segment_bytes=SEGMENT_BYTES,
        most_bytes=settings.JOURNAL_MAX_BYTES,
        dropped=metrics.dropped,
    )
    coalesced_writes_of(asyncio.get_running_loop()).before = journal.flush
    baselines = Baselines(limits, snapshot.run)
    request_log = RequestLog()
    upstream = Upstream(verify_ssl=settings.VERIFY_SSL, connect_timeout_s=settings.CONNECT_TIMEOUT_SECS)
    logs_bodies = settings.LOG_BODIES and request_log.is_on
    return Components(
        bounds=Bounds.from_settings(settings),
        snapshot=snapshot,
        admission=Admission(limits, baselines, settings.ADDRESS_LIMITS),
        limits=limits,
        baselines=baselines,
        upstream=upstream,
        owners=Owners(look_up_owners),
        journal=journal,
        metrics=metrics,
        request_log=request_log,
        logged_bodies=show_bodies(snapshot, settings.LOG_BODIES_MAX_BYTES) if logs_bodies else None,
        traces=build_traces(),
        background=Background(snapshot, upstream, journal, metrics, request_log),
        bodies=BodyKeeper(show_bodies(snapshot, settings.BODY_CAPTURE_BYTES)),
        shown_errors=show_bodies(snapshot, SHOWN_ERROR_BYTES),
        running_cache=build_cache(snapshot) if settings.HTTP_CACHE_ENABLED else None,
    )


def build_cache(snapshot: Snapshot) -> RunningCache:
    running = RunningCache()
    snapshot.tell_purges(running.cache.purge)
    running.start()
    return running


def show_bodies(snapshot: Snapshot, most_bytes: int) -> Showing:
    patterns = [settings.BODY_REDACT_PATTERN] if settings.BODY_REDACT_PATTERN is not None else []
    own = (settings.MANAGEMENT_TOKEN, settings.SECRET_KEY, *settings.ENCRYPTION_KEYS)
    return Showing(
        Redaction(settings.KEY_PREFIX, patterns),
        lambda: {*snapshot.catalog.secrets, *(secret.encode() for secret in own)},
        most_bytes,
    )


async def build_limits() -> LimitsBackend:
    """The limits of this process, or those shared through Redis, if that is set up. Redis may be away at the moment."""
    if not settings.REDIS_URL:
        return MemoryLimits()
    limits = FallbackLimits(
        connect(settings.REDIS_URL),
        lease_s=settings.LIMIT_LEASE_SECS,
        timeout_s=settings.LIMIT_PATIENCE_SECS,
        on_failure=lambda name, error: LOOPS.named(name).failed_alone(error),
    )
    await limits.start()
    return limits


def build_traces() -> Traces | None:
    if not settings.TRACING:
        return None
    from usage.telemetry.traces import (
        Traces,  # importing it takes a quarter of a second and needs optional packages
    )

    return Traces(VERSION)


def find_in_ledger(keys: Collection[str], project_id: int | None) -> dict[str, Owner]:
    """Who made these. If several requests have one id, this project's are preferred, and of these the latest."""
    best: dict[str, tuple[tuple[bool, str], Owner]] = {}
    columns = ("response_id", "id", "project_id", "provider", "credential")
    for key, row_id, project, provider, credential in rows_of_responses(keys).values_list(*columns)[:MOST_ROWS]:
        rank = project == project_id, row_id
        if key not in best or rank > best[key][0]:
            best[key] = rank, Owner(provider, credential, project)
    return {key: owner for key, (_, owner) in best.items()}


def rows_of_responses(keys: Collection[str]) -> QuerySet[RequestRecord]:
    """The condition repeats that of the index `request_by_response`, because SQLite uses the index only then. The rows
    have no order, because for an order PostgreSQL may walk the table by its key instead.
    """
    rows = RequestRecord.objects.filter(~Q(response_id=""), response_id__in=keys, endpoint__in=LABELS, method="POST")
    return rows.order_by()
