"""The headers of a provider's answer that go to the client, without the credential in them."""

from __future__ import annotations

from providers.kinds.base import header_lines
from proxy.exchange import Exchange
from proxy.wire.answer import Answer
from proxy.wire.headers import downward

UNBUFFERED = b"x-accel-buffering: no\r\n"
"""For a stream of events: otherwise nginx and other proxies in front of Sluice buffer it."""


def secret_of(exchange: Exchange) -> bytes:
    """The credential that was sent to the provider; empty if there was none."""
    return exchange.attempts[-1].access.secret if exchange.attempts else b""


def passed_lines(exchange: Exchange, answer: Answer, without: tuple[bytes, ...] = ()) -> bytes:
    """The answer's headers for the client, as lines, without those that Sluice writes itself and those in `without`."""
    headers = downward(answer.headers, secret_of(exchange))
    return header_lines([header for header in headers if header[0] not in without] if without else headers)
