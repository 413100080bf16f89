"""Captured bodies of a request and its answer: stored for the project, and written to the log."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from keys.records import ALL
from proxy.capture import Capture
from proxy.exchange import Exchange
from proxy.steps.passed_headers import secret_of
from usage.bodies.keep import CapturedBodies

if TYPE_CHECKING:
    from usage.bodies.keep import BodyKeeper
    from usage.bodies.show import Showing
    from usage.event import RequestEvent

COMPLETE = "complete"
LOGGED = ("request_body", "response_body")


def keep_bodies(exchange: Exchange, capture: Capture, event: RequestEvent, body_keeper: BodyKeeper) -> None:
    """Store the captured bodies, if the project wants those of such a request. Neither waits nor raises."""
    if capture.keeps != ALL and event.outcome == COMPLETE:
        return
    request, answer = capture.bodies(exchange.head.fields)
    body_keeper.add(CapturedBodies(event.id, event.at, request, answer, secrets_of(exchange)))


def with_bodies(document: bytes, exchange: Exchange, capture: Capture, showing: Showing) -> bytes:
    """An event as JSON, for the log, with the bodies of its request and its answer."""
    secrets = secrets_of(exchange)
    request, answer = (showing.of(body, secrets) for body in capture.bodies(exchange.head.fields))
    texts = [shown.body.decode(errors="replace") + ("…" if shown.note else "") for shown in (request, answer)]
    return document[:-1] + b"," + msgspec.json.encode(dict(zip(LOGGED, texts, strict=True)))[1:]


def secrets_of(exchange: Exchange) -> Collection[bytes]:
    """The secrets of this request: the client's tokens, and the credential that was sent to the provider."""
    fields = exchange.head.fields
    tokens = [fields.get(name, b"").strip() for name in (b"x-api-key", b"api-key")]
    tokens.append(fields.get(b"authorization", b"").rpartition(b" ")[2])
    return [secret for secret in (*tokens, secret_of(exchange)) if secret]
