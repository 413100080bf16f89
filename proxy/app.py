"""The data plane as an ASGI application, for `/v1/*`, `/health*` and `/metrics`.

It builds the components once, when the server starts (or for the first request, under servers without lifespan), and
passes them to each request.
"""

from __future__ import annotations

import asyncio
import gc
import logging

from django.conf import settings
from django.db import DatabaseError

from proxy import pipeline
from proxy.build import LedgerThread, build_components
from proxy.components import Components
from proxy.exchange import Exchange
from proxy.health.endpoints import ALIVE, PATHS, answer_health
from proxy.health.report import Condition
from proxy.wire.asgi import Receive, Scope, Send

log = logging.getLogger("sluice.proxy")


class DataPlane:
    """One for each process."""

    def __init__(self) -> None:
        self._components: Components | None = None
        self._condition: Condition | None = None
        self._starting: asyncio.Lock | None = None
        self._ledger: LedgerThread | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in PATHS:
            if self._condition is None and scope["path"] not in ALIVE:
                await self._try_to_start()
            await answer_health(scope, send, self._condition)
        else:
            await pipeline.run(Exchange(scope, receive, send), self._components or await self.start())

    async def start(self) -> Components:
        """Build the components, which loads the configuration. Raises `DatabaseError`."""
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._components is None:
                self._components = await build_components()
                self._condition = Condition(self._components)
                if settings.LEDGER_WRITER == "own":
                    self._ledger = LedgerThread()
                # What exists now stays, so the garbage collector need not look at all of Django again and again.
                gc.collect()
                gc.freeze()
        return self._components

    async def _try_to_start(self) -> None:
        """A client that waits until Sluice is ready sends no other request that would start it."""
        try:
            await self.start()
        except DatabaseError as error:
            log.error("Sluice cannot start: %s", error)

    async def stop(self) -> None:
        """Write what is left, and close everything."""
        components, self._components = self._components, None
        if components is None:
            return
        await components.request_deadlines.end_requests()
        if self._condition is not None:
            await self._condition.close()
            self._condition = None
        if components.running_cache is not None:
            await components.running_cache.stop()
        await components.heavy.stop()
        await components.background.stop()
        components.journal.close()
        await asyncio.to_thread(components.reporter.stop)
        await asyncio.to_thread(components.bodies.stop)
        if self._ledger is not None:
            await asyncio.to_thread(self._ledger.stop)
        await components.baselines.stop()
        await components.limits.close()
        await components.snapshot.stop()
        components.upstream.close()
        components.request_deadlines.stop()
