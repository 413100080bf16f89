"""Step 8: what became of it. Whatever happened, one event, and everything that was held is given back."""

from __future__ import annotations

import ipaddress
import time
from functools import lru_cache

from proxy.exchange import Exchange
from proxy.parts import Parts
from usage.event import RequestEvent


def account(exchange: Exchange, parts: Parts) -> None:
    """Settle the reservation and tell of the request. Neither waits nor raises."""
    if exchange.reservation is not None:
        exchange.reservation.settle()
    event = event_of(exchange, time.monotonic())
    parts.metrics.ended(event)
    parts.writer.add(event)


def event_of(exchange: Exchange, now: float) -> RequestEvent:
    client = exchange.scope.get("client")
    event = RequestEvent(
        id=exchange.request_id,
        at=exchange.started_at,
        method=exchange.method[:16],
        path=exchange.path[:200],
        status=exchange.status,
        outcome=exchange.outcome,
        duration_ms=milliseconds(exchange.t0, now),
        model=exchange.model,
        stream=exchange.stream,
        error=exchange.error_code,
        cache=exchange.cache,
        attempts=exchange.attempts,
        request_bytes=exchange.request_bytes,
        response_bytes=exchange.response_bytes,
        ip=address(client[0]) if client else None,
        correlation_id=exchange.correlation_id,
        endpoint=exchange.endpoint.label,
    )
    if (key := exchange.key) is not None:
        event.key, event.user, event.tags = key.id, key.owner_id, key.tags
    if exchange.project is not None:
        event.project = exchange.project.id
    if exchange.candidate is not None:
        event.provider, event.model_served = exchange.candidate.provider.name, exchange.candidate.model[:200]
    if exchange.credential is not None:
        event.credential = exchange.credential.alias
    if (usage := exchange.usage) is not None:
        event.prompt_tokens, event.completion_tokens = usage.prompt, usage.completion
        event.cached_tokens, event.reasoning_tokens = usage.cached, usage.reasoning
        event.audio_tokens, event.usage_source = usage.audio, usage.source
    if exchange.response_id:
        event.response_id = exchange.response_id.replace("\0", "")[:128]
    if exchange.first_byte_at is not None:
        event.ttft_ms = milliseconds(exchange.t0, exchange.first_byte_at)
    if exchange.sent_at is not None:
        event.upstream_ms = milliseconds(exchange.sent_at, exchange.upstream_done_at or now)
    return event


@lru_cache(maxsize=4096)
def address(host: str) -> str | None:
    """The client's address; None for what is none, such as the name of a Unix socket."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def milliseconds(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)
