"""Settles responses in the background: they are made after their client has gone, so Sluice asks what they used.

The process that relayed a response keeps its reservation. It asks the provider, with the credential that the response
was made with and in growing pauses, until the response is over. Its cost is a ledger row of its own. If the process
ends, others go on without the reservation (`usage/ledger/background.py`). A response that the provider does not tell
the end of within a day has no known cost, and what was reserved for it stays spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from django.db import DatabaseError

from keys.limits import Reservation
from providers.catalog import CredentialUnavailable
from proxy.dialects.base import ESTIMATED, Usage
from proxy.dialects.counts import decoded_or_mended, read_usage
from proxy.dialects.responses import UNFINISHED, output_bytes
from proxy.exchange import Exchange, new_request_id
from proxy.upstream.connection import ConnectionFailed
from proxy.wire.text import tokens_of_bytes
from usage.event import RequestEvent
from usage.ledger.background import NOBODY, let_go, stay_alive, take_over
from usage.loops import LOOPS, end_tasks

if TYPE_CHECKING:
    from proxy.configuration.snapshot import Snapshot
    from proxy.upstream.client import Upstream
    from proxy.wire.answer import Answer
    from usage.journal.spool import Spool
    from usage.telemetry.metrics import RequestMetrics
    from usage.telemetry.request_log import RequestLog

log = logging.getLogger("sluice.proxy")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
GIVE_UP_AFTER_S = 86_400.0
ANSWER_S = 60.0
MOST_ANSWER_BYTES = 64 * 1024 * 1024
MOST_WAITING = 10_000
AT_ONCE = 8
RENEWED_S = 30.0
"""How often this process tells the others that it still asks, and looks for responses that no process asks for."""

READING = b"accept: application/json\r\naccept-encoding: identity\r\n"
UNKNOWN_PRICE = "unknown"
GONE = frozenset({404, 410})


class _Response(msgspec.Struct):
    status: Any = None
    usage: msgspec.Raw = msgspec.Raw()


_response = msgspec.json.Decoder(_Response)


class Waiting:
    """One response that is not over yet. It is asked for at `next_at`, in monotonic time."""

    def __init__(self, event: RequestEvent, reservation: Reservation | None, tokens: int) -> None:
        self.event, self.reservation, self.tokens = event, reservation, tokens
        self.pause_s = FIRST_PAUSE_S
        self.next_at = time.monotonic() + FIRST_PAUSE_S

    def settle(self, tokens: int | None, cost: int | None) -> None:
        """Settle the reservation. Tokens or a cost that are not known (None) stay as they were reserved."""
        if self.reservation is not None:
            tokens_used = self.tokens if tokens is None else tokens
            self.reservation.settle(tokens_used, self.reservation.ask.cost if cost is None else cost)


class Background:
    """One for each process."""

    def __init__(
        self,
        snapshot: Snapshot,
        upstream: Upstream,
        journal: Spool,
        metrics: RequestMetrics,
        request_log: RequestLog,
    ) -> None:
        self.holder = secrets.token_hex(8)
        self._snapshot, self._upstream = snapshot, upstream
        self._journal, self._request_log, self._metrics = journal, request_log, metrics
        self._waiting: dict[str, Waiting] = {}
        """By the id of the request."""
        self._requests: dict[str, str] = {}
        """By the id of the response."""
        self._wake = asyncio.Event()
        self._renewed_at = 0.0
        loop = LOOPS.named("background-responses")
        self._task = asyncio.get_running_loop().create_task(loop.run(self._step))

    async def stop(self) -> None:
        """Stop asking. Other processes go on."""
        await end_tasks([self._task])
        if self._waiting:
            try:
                await self._snapshot.run(lambda: let_go(self.holder, datetime.now(UTC)))
            except DatabaseError as error:
                log.warning("Others ask for responses in the background in two minutes: %s", type(error).__name__)

    @property
    def holder_now(self) -> str:
        """The process that is to ask for one more response: this one, or none if it has no room."""
        return self.holder if len(self._waiting) < MOST_WAITING else NOBODY

    def take(self, exchange: Exchange, event: RequestEvent) -> None:
        """Keep an exchange's reservation until the cost of its response is known."""
        waiting = Waiting(event, exchange.reservation, exchange.reserved_tokens)
        if event.holder == NOBODY:
            waiting.settle(None, None)
            return
        self._wait_for(waiting)
        self._wake.set()

    def _wait_for(self, waiting: Waiting) -> None:
        event = waiting.event
        self._waiting[event.id] = waiting
        self._requests[event.response_id] = event.id

    def observe(self, response_id: str, raw: bytes) -> None:
        """Look at a response that a client has read, and settle it if it is over."""
        waiting = self._waiting.get(self._requests.get(response_id, ""))
        if waiting is not None:
            self._settle_if_over(waiting, raw)

    async def look_before(self, response_id: str) -> None:
        """Ask for a response that a client is about to delete: afterwards it cannot be asked for."""
        waiting = self._waiting.get(self._requests.get(response_id, ""))
        if waiting is not None:
            await self._look(waiting)

    async def _step(self) -> None:
        now = time.monotonic()
        if now - self._renewed_at >= RENEWED_S:
            self._renewed_at = now
            await self._renew()
        due = sorted((each for each in self._waiting.values() if each.next_at <= now), key=lambda each: each.next_at)
        if due:
            await asyncio.gather(*map(self._look, due[:AT_ONCE]))
            return
        next_at = min((each.next_at for each in self._waiting.values()), default=now + RENEWED_S)
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(next_at, self._renewed_at + RENEWED_S) - now)):
                await self._wake.wait()

    async def _renew(self) -> None:
        def work() -> list[RequestEvent]:
            moment = datetime.now(UTC)
            if reservation:
                stay_alive(self.holder, moment)
            return list(take_over(self.holder, moment, room))

        reservation, room = bool(self._waiting), min(100, MOST_WAITING - len(self._waiting))
        try:
            for event in await self._snapshot.run(work):
                self._wait_for(Waiting(event, None, 0))
        except DatabaseError as error:
            log.warning("Responses in the background are not taken over: %s", type(error).__name__)

    async def _look(self, waiting: Waiting) -> None:
        """Ask for a response, and settle it if it is over."""
        waiting.pause_s = min(waiting.pause_s * 1.5, LONGEST_PAUSE_S)
        waiting.next_at = time.monotonic() + waiting.pause_s
        status, raw = await self._ask(waiting.event)
        if waiting.event.id not in self._waiting:
            return  # a client has read it meanwhile, and it was settled
        if status == 200 and self._settle_if_over(waiting, raw):
            return
        if status in GONE or time.time() - waiting.event.at > GIVE_UP_AFTER_S:
            self._settle(waiting, status, None, None, UNKNOWN_PRICE)

    def _settle_if_over(self, waiting: Waiting, raw: bytes) -> bool:
        response = decoded_or_mended(_response, raw)
        if response is None or not isinstance(response.status, str) or response.status in UNFINISHED:
            return False
        usage = read_usage(response.usage) or estimated_usage(raw)
        self._settle(waiting, 200, usage, *self._cost(waiting.event, usage))
        return True

    async def _ask(self, event: RequestEvent) -> tuple[int, bytes]:
        """The status and body of the provider's answer; status 0 if there was none."""
        catalog = self._snapshot.catalog
        provider = catalog.named(event.provider)
        if provider is None:
            return 0, b""
        answer: Answer | None = None
        try:
            access = catalog.access(provider, event.credential)
            rest = f"/responses/{event.response_id}"
            path = provider.kind.path(provider.base_path, rest, "", event.model_served, provider.options)
            async with asyncio.timeout(ANSWER_S):
                answer = await self._upstream.send(provider, "GET", path, access.lines + READING, b"")
                return answer.status, await whole(answer)
        except (ConnectionFailed, CredentialUnavailable, OSError, TimeoutError) as error:
            log.warning("Response %s cannot be asked for: %s", event.response_id, type(error).__name__)
            return 0, b""
        finally:
            if answer is not None:
                answer.abort()

    def _cost(self, event: RequestEvent, usage: Usage) -> tuple[int | None, str]:
        provider = self._snapshot.catalog.named(event.provider)
        if provider is None:
            return None, UNKNOWN_PRICE
        price = self._snapshot.prices.price_of(
            provider.name, provider.kind.name, provider.base_url, event.model_served, event.at
        )
        if price is None:
            return None, UNKNOWN_PRICE
        parts = usage.cached, usage.reasoning, usage.audio_in, usage.audio_out, usage.cache_write
        cost = price.cost(usage.prompt, usage.completion, *parts, usage.picture_in, usage.picture_out)
        return cost, price.source

    def _settle(self, waiting: Waiting, status: int, usage: Usage | None, cost: int | None, source: str) -> None:
        event = waiting.event
        self._waiting.pop(event.id, None)
        self._requests.pop(event.response_id, None)
        counts = usage or Usage(source="")
        tokens = None if usage is None else (usage.prompt or 0) + (usage.completion or 0)
        waiting.settle(tokens, cost)
        now = time.time()
        cost_event = RequestEvent(
            new_request_id(now),
            now,
            "GET",
            f"/v1/responses/{event.response_id}",
            status,
            "complete" if status == 200 else "upstream_error",
            (now - event.at) * 1000,
            event.key,
            event.project,
            event.user,
            event.team,
            event.provider,
            event.credential,
            event.model,
            event.model_served,
            prompt_tokens=counts.prompt,
            completion_tokens=counts.completion,
            cached_tokens=counts.cached,
            reasoning_tokens=counts.reasoning,
            cache_write_tokens=counts.cache_write,
            audio_tokens=counts.audio,
            usage_source=counts.source,
            cost_picousd=cost,
            price_source=source,
            correlation_id=event.correlation_id,
            response_id=event.response_id,
            tags=event.tags,
            endpoint="/v1/responses/{id}",
            settles=event.id,
        )
        self._metrics.began()
        document = self._journal.add(cost_event)
        self._metrics.ended(cost_event, document)
        self._request_log.add(document)


async def whole(answer: Answer) -> bytes:
    """The whole body. One that is too large is cut, so it is no valid JSON. Raises `ConnectionFailed`."""
    rest = answer.rest()
    if rest is not None:
        return rest
    pieces: list[bytes] = []
    size = 0
    while (piece := await answer.read()) and size <= MOST_ANSWER_BYTES:
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def estimated_usage(raw: bytes) -> Usage:
    """An estimate, from its text, of a response whose tokens the provider did not count."""
    return Usage(0, tokens_of_bytes(output_bytes(raw) or 0), source=ESTIMATED)
