"""Step 8: what became of it. Whatever happened, one event, and everything that was held is given back."""

from __future__ import annotations

import ipaddress
import time
from functools import lru_cache

from proxy.dialects.base import Usage
from proxy.exchange import Exchange
from proxy.parts import Parts
from usage.event import RequestEvent

NO_USAGE = Usage(source="")


def account(exchange: Exchange, parts: Parts) -> None:
    """Settle the reservation and tell of the request. Neither waits nor raises."""
    if exchange.reservation is not None:
        exchange.reservation.settle()
    event = event_of(exchange, time.monotonic())
    parts.metrics.ended(event)
    parts.writer.add(event)


def event_of(exchange: Exchange, now: float) -> RequestEvent:
    t0, sent_at, first_byte_at = exchange.t0, exchange.sent_at, exchange.first_byte_at
    key, project, candidate = exchange.key, exchange.project, exchange.candidate
    credential, usage, client = exchange.credential, exchange.usage or NO_USAGE, exchange.scope.get("client")
    # In the order of the event's fields and without their names: it is the largest object of a request.
    return RequestEvent(
        exchange.request_id,
        exchange.started_at,
        exchange.method[:16],
        exchange.path[:200],
        exchange.status,
        exchange.outcome,
        milliseconds(now - t0),
        key.id if key is not None else None,
        project.id if project is not None else None,
        key.owner_id if key is not None else None,
        candidate.provider.name if candidate is not None else "",
        credential.alias if credential is not None else "",
        exchange.model,
        candidate.model[:200] if candidate is not None else "",
        exchange.stream,
        exchange.error_code,
        exchange.cache,
        exchange.attempts,
        usage.prompt,
        usage.completion,
        usage.cached,
        usage.reasoning,
        usage.audio,
        usage.source,
        milliseconds(first_byte_at - t0) if first_byte_at is not None else None,
        milliseconds((exchange.upstream_done_at or now) - sent_at) if sent_at is not None else None,
        exchange.request_bytes,
        exchange.response_bytes,
        address(client[0]) if client else None,
        exchange.correlation_id,
        exchange.response_id.replace("\0", "")[:128],
        key.tags if key is not None else (),
        exchange.endpoint.label,
    )


@lru_cache(maxsize=4096)
def address(host: str) -> str | None:
    """The client's address; None for what is none, such as the name of a Unix socket."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
