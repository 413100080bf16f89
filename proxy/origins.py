"""Who made a stored response or conversation: the provider and credential that later requests for it must go to."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from proxy.exchange import Exchange

KEPT = 10_000
MAKERS = ("/v1/responses", "/v1/conversations")
"""Labels of the endpoints that make what later requests speak of."""

PAUSES_S = (0.1, 0.1, 0.1, 0.2, 0.3, 0.4)
"""Between looks into the ledger."""


class ResponseOrigin(NamedTuple):
    provider: str
    credential: str
    project_id: int | None


class ResponseOrigins:
    """The latest ones from memory, the rest from the ledger.

    Another process's response may have been answered a moment before its row is written, so a miss looks again for
    longer than the writer's batches take where it is not kept from its work. Misses are rare, and only a project's own
    programs can cause them.
    """

    def __init__(self, find_in_ledger: Callable[[str], Awaitable[ResponseOrigin | None]]) -> None:
        self._recent: OrderedDict[str, ResponseOrigin] = OrderedDict()
        self._find_in_ledger = find_in_ledger

    def remember_for(self, exchange: Exchange) -> None:
        """Note who made the response of this exchange, before its client can ask for it again."""
        if exchange.response_id and exchange.endpoint.label in MAKERS and exchange.candidate is not None:
            provider = exchange.candidate.provider.name
            credential = exchange.credential.alias if exchange.credential else ""
            project_id = exchange.project.id if exchange.project else None
            self.remember(exchange.response_id, ResponseOrigin(provider, credential, project_id))

    def remember(self, response_id: str, origin: ResponseOrigin) -> None:
        self._recent[response_id] = origin
        if len(self._recent) > KEPT:
            self._recent.popitem(last=False)

    async def find(self, response_id: str) -> ResponseOrigin | None:
        for pause_s in (*PAUSES_S, None):
            origin = self._recent.get(response_id)
            if origin is None:
                origin = await self._find_in_ledger(response_id)
            if origin is not None:
                self.remember(response_id, origin)
                return origin
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        return None
