"""The data plane's door: an ASGI application for `/v1/*`, `/health*` and `/metrics`.

It builds the parts once, when the server starts (or at the first request, for servers without a lifespan), and hands
them to each request.
"""

from __future__ import annotations

import asyncio
import gc
import logging

from django.conf import settings
from django.db import DatabaseError

from keys.models import Project
from providers.environment import sync_provider_from_environment
from proxy import pipeline
from proxy.admit import Admission
from proxy.bounds import Bounds
from proxy.exchange import Exchange, Receive, Scope, Send
from proxy.health import PATHS, answer_health
from proxy.origins import ResponseOrigin, ResponseOrigins
from proxy.parts import Parts
from proxy.snapshot import Snapshot
from proxy.upstream import Upstream
from usage.metrics import RequestMetrics
from usage.models import RequestRecord
from usage.writer import BatchWriter

log = logging.getLogger("sluice.proxy")


class DataPlane:
    """One for each process."""

    def __init__(self) -> None:
        self._parts: Parts | None = None
        self._starting: asyncio.Lock | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in PATHS:
            await answer_health(scope, send, ready=self._parts is not None)
        else:
            await pipeline.run(Exchange(scope, receive, send), self._parts or await self.start())

    async def start(self) -> Parts:
        """Load what there is to know. Raises `DatabaseError`."""
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._parts is None:
                self._parts = await build_parts()
                # What is here by now stays: the collector need not look at all of Django again and again.
                gc.collect()
                gc.freeze()
        return self._parts

    async def stop(self) -> None:
        """Write what is left, and let go of everything."""
        parts, self._parts = self._parts, None
        if parts is None:
            return
        await asyncio.to_thread(parts.writer.stop)
        await parts.snapshot.stop()
        parts.upstream.close()
        parts.watchman.stop()


async def build_parts() -> Parts:
    snapshot = Snapshot()
    await snapshot.run(sync_provider_from_environment)
    await snapshot.run(Project.default)  # so that the first request without a key has its project
    await snapshot.start()

    async def find_in_ledger(response_id: str) -> ResponseOrigin | None:
        try:
            return await snapshot.run(lambda: ledger_origin(response_id))
        except DatabaseError as error:
            log.warning("Who made a response cannot be looked up: %s", type(error).__name__)
            return None

    metrics = RequestMetrics()
    writer = BatchWriter(metrics)
    writer.start()
    upstream = Upstream(verify_ssl=settings.VERIFY_SSL, connect_timeout_s=settings.CONNECT_TIMEOUT_SECS)
    return Parts(
        bounds=Bounds.from_settings(settings),
        snapshot=snapshot,
        admission=Admission(),
        upstream=upstream,
        origins=ResponseOrigins(find_in_ledger),
        writer=writer,
        metrics=metrics,
    )


def ledger_origin(response_id: str) -> ResponseOrigin | None:
    row = RequestRecord.objects.filter(response_id=response_id, endpoint="/v1/responses").first()
    return ResponseOrigin(row.provider, row.credential, row.project_id) if row else None
