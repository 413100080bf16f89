"""What passes from a provider's answer to the client: its headers, without the credential in them."""

from __future__ import annotations

from providers.kinds.base import header_lines
from proxy.exchange import Exchange
from proxy.wire.answer import Answer
from proxy.wire.headers import downward

UNBUFFERED = b"x-accel-buffering: no\r\n"
"""For a stream of events: nginx and others in front of Sluice else gather it into lumps."""


def secret_of(exchange: Exchange) -> bytes:
    """The credential that the provider was called with; empty where there was none."""
    return exchange.attempts[-1].access.secret if exchange.attempts else b""


def passed_lines(exchange: Exchange, answer: Answer, without: tuple[bytes, ...] = ()) -> bytes:
    """The answer's headers for the client, as lines; not those that the gateway writes itself."""
    headers = downward(answer.headers, secret_of(exchange))
    return header_lines([header for header in headers if header[0] not in without] if without else headers)
