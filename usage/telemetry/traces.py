"""Traces: a span for each request, by OpenTelemetry's conventions for generative AI, sent by OTLP over HTTP.

Another thread makes a span from the request's event when the request has ended. Before that only its context exists:
its parent, and whether it is sampled. Spans that cannot be sent wait in a bounded queue, and then are dropped.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from usage.event import RequestEvent
from usage.operations import OPERATIONS

log = logging.getLogger("sluice.traces")

KEPT = 10_000
"""The most requests that wait for their spans to be made. Beyond it the oldest are dropped."""

STOP_S = 2.0
"""How long a process that ends waits for its last spans to be sent."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
NOWHERE: Context = Context()


class Target(NamedTuple):
    """The provider that was asked. `vendor` is OpenTelemetry's name for it, or else its own name."""

    vendor: str
    host: str
    port: int | None


class Span(NamedTuple):
    """A request's place in its trace."""

    context: SpanContext
    parent: SpanContext | None
    lines: bytes
    """The header lines that pass the trace on to the provider."""


class Traces:
    """One for each process. `begin` and `ended` run on the event loop."""

    def __init__(self, version: str) -> None:
        named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        self._resource = Resource.create({} if named else {SERVICE_NAME: "sluice"})
        provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)  # reads OTEL_TRACES_SAMPLER
        self._sampler, self._ids = provider.sampler, provider.id_generator
        self._exporter = OTLPSpanExporter()
        self._processor = BatchSpanProcessor(self._exporter)
        self._scope = InstrumentationScope("sluice", version)
        self._ended: deque[tuple[Span, RequestEvent, Target | None]] = deque(maxlen=KEPT)

    def begin(self, traceparent: bytes | None, tracestates: Sequence[bytes]) -> Span:
        """Continue the client's trace; begin a new one if its headers are missing or invalid."""
        parent = read_parent(traceparent, tracestates) if traceparent is not None else None
        trace_id = parent.trace_id if parent is not None else self._ids.generate_trace_id()
        above = set_span_in_context(NonRecordingSpan(parent), NOWHERE) if parent is not None else NOWHERE
        verdict = self._sampler.should_sample(above, trace_id, "request", SpanKind.CLIENT).decision
        sampled = verdict is Decision.RECORD_AND_SAMPLE
        context = SpanContext(
            trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT),
            trace_state=parent.trace_state if parent is not None else None,
        )
        lines = b"traceparent: 00-%032x-%016x-%02x\r\n" % (trace_id, context.span_id, context.trace_flags)
        if parent is not None:
            lines += b"".join([b"tracestate: %s\r\n" % state for state in tracestates])
        return Span(context, parent, lines)

    def ended(self, span: Span, event: RequestEvent, target: Target | None) -> None:
        if span.context.trace_flags.sampled:
            self._ended.append((span, event, target))

    def write(self) -> None:
        """Make spans for requests that have ended. Must run in one thread at a time, and not on the event loop."""
        for _ in range(len(self._ended)):
            self._processor.on_end(self._span(*self._ended.popleft()))

    def stop(self) -> None:
        """Send what is left, for at most `STOP_S`."""
        self.write()
        ending = threading.Thread(target=self._processor.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(STOP_S)
        if ending.is_alive():
            log.warning("The last traces were not taken within %g s.", STOP_S)
            self._exporter.shutdown()  # type: ignore[no-untyped-call] # else it would keep retrying

    def _span(self, span: Span, event: RequestEvent, target: Target | None) -> ReadableSpan:
        operation = OPERATIONS.get(event.endpoint)
        began_ns = int(event.at * 1e9)
        failed = bool(event.error) and event.outcome != "client_closed"
        return ReadableSpan(
            name=f"{operation} {event.model}".strip() if operation else f"{event.method} {event.endpoint}",
            context=span.context,
            parent=span.parent,
            resource=self._resource,
            attributes=attributes_of(event, operation, target),
            kind=SpanKind.CLIENT if target is not None else SpanKind.SERVER,
            status=Status(StatusCode.ERROR, event.error) if failed else Status(),
            start_time=began_ns,
            end_time=began_ns + int(event.duration_ms * 1e6),
            instrumentation_scope=self._scope,
        )


def attributes_of(event: RequestEvent, operation: str | None, target: Target | None) -> dict[str, Any]:
    """Return the attributes of OpenTelemetry's conventions and Sluice's own. Unknown values are left out."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": target.vendor if target is not None else None,
        "gen_ai.request.model": event.model,
        "gen_ai.request.stream": event.stream or None,
        "gen_ai.response.model": event.model_served,
        "gen_ai.response.id": event.response_id,
        "gen_ai.response.time_to_first_chunk": event.ttft_ms / 1000 if event.ttft_ms is not None else None,
        "gen_ai.usage.input_tokens": event.prompt_tokens,
        "gen_ai.usage.output_tokens": event.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": event.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": event.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": event.reasoning_tokens,
        "server.address": target.host if target is not None else None,
        "server.port": target.port if target is not None else None,
        "error.type": event.error,
        "http.request.method": event.method,
        "http.route": event.endpoint,
        "http.response.status_code": event.status,
        "sluice.request_id": event.id,
        "sluice.correlation_id": event.correlation_id,
        "sluice.outcome": event.outcome,
        "sluice.provider": event.provider,
        "sluice.key_id": event.key,
        "sluice.project_id": event.project,
        "sluice.attempts": event.attempts,
        "sluice.cache": event.cache,
        "sluice.cost_usd": event.cost_picousd / 1e12 if event.cost_picousd is not None else None,
    }
    return {name: value for name, value in attributes.items() if value is not None and value != ""}


def read_parent(traceparent: bytes, tracestates: Sequence[bytes]) -> SpanContext | None:
    """Parse the headers of W3C Trace Context, level 1. Return None if they break its rules."""
    match = _TRACEPARENT.fullmatch(traceparent.decode("latin-1").strip())
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    context = SpanContext(
        int(match[2], 16),
        int(match[3], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(match[4], 16) & TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([state.decode("latin-1") for state in tracestates]),
    )
    return context if context.is_valid else None
