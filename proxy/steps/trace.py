"""A request's place in a trace: taken from the client's headers, sent to the provider. Used only if traces are on."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from providers.kinds.base import header_lines
from proxy.exchange import Exchange
from proxy.server.head import Head
from proxy.wire.headers import upward

if TYPE_CHECKING:
    from usage.telemetry.traces import Span, Target, Traces

TRACEPARENT, TRACESTATE = b"traceparent", b"tracestate"
VENDORS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.deepseek.com": "deepseek",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
}
"""OpenTelemetry's names: https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/"""


def begin(exchange: Exchange, traces: Traces) -> Span:
    """The span of a request that has just come."""
    traceparent = exchange.head.fields.get(TRACEPARENT)
    states = [value for name, value in exchange.head.headers if name == TRACESTATE] if traceparent is not None else []
    return traces.begin(traceparent, states)


def lines_above(head: Head, span: Span) -> bytes:
    """The header lines for the provider, with Sluice's span as parent. Raises `ValueError`, as `Head.lines_above`."""
    if TRACEPARENT not in head.fields and TRACESTATE not in head.fields:
        return head.lines_above() + span.lines
    others = [header for header in head.headers if header[0] not in (TRACEPARENT, TRACESTATE)]
    return header_lines(upward(others)) + span.lines


def target_of(exchange: Exchange) -> Target | None:
    """The provider that was asked; None if none was."""
    attempt = exchange.attempt
    if attempt is None or attempt.sent_at is None:
        return None
    provider = attempt.provider
    host, port = (provider.origin.host, provider.origin.port) if provider.origin is not None else ("", None)
    return target(provider.name, provider.kind.telemetry_name, host, port)


@lru_cache(maxsize=1024)
def target(name: str, vendor: str | None, host: str, port: int | None) -> Target:
    from usage.telemetry.traces import Target

    return Target(vendor or VENDORS.get(host, name), host, port)
