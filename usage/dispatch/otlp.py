"""The dispatcher to an OpenTelemetry collector, or any other server that speaks OTLP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from usage.dispatch.base import Dispatcher, Later, Rejected
from usage.dispatch.ids import trace_and_span_of
from usage.dispatch.shape import dollars
from usage.event import RequestEvent
from usage.operations import OPERATIONS
from usage.sending.post import post

SIGNAL_PATH = "/v1/traces"
CLIENT, OK, ERROR = 3, 1, 2
"""`SPAN_KIND_CLIENT`, `STATUS_CODE_OK`, `STATUS_CODE_ERROR`."""

PROVIDERS = {"azure": "azure.ai.openai", "gemini": "gcp.gemini", "vertex": "gcp.vertex_ai", "bedrock": "aws.bedrock"}
"""The conventions' names of providers, where they differ from Sluice's."""


class PartialSuccess(msgspec.Struct, rename="camel"):
    rejected_spans: int | str = 0
    """A 64-bit number, which is text in Protobuf's JSON."""
    error_message: str = ""


class Answer(msgspec.Struct, rename="camel"):
    partial_success: PartialSuccess | None = None


class OTLPDispatcher(Dispatcher):
    """Sends OTLP/HTTP in JSON: a span for each request, with the attributes of the GenAI conventions.

    https://opentelemetry.io/docs/specs/otlp/#otlphttp and
    https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/. The URL is the collector's (`http://host:4318`),
    to which `/v1/traces` is added, or the whole URL with that path. Trace and span ids are made from the event's id. A
    collector that accepts only a part of a batch does not say which part, and the batch must not be sent again. So the
    whole batch becomes dead letters.
    """

    needs: ClassVar = ("url",)
    takes: ClassVar = ("headers",)

    def deliver(self, events: Sequence[RequestEvent]) -> list[Rejected]:
        url = self.target.url.rstrip("/")
        url = url if url.endswith(SIGNAL_PATH) else url + SIGNAL_PATH
        headers = {**dict(self.target.headers), "content-type": "application/json"}
        answer = post(self.client, url, msgspec.json.encode(export_of(events)), headers)
        try:
            partial = msgspec.json.decode(answer or b"{}", type=Answer).partial_success
        except msgspec.MsgspecError:
            raise Later("what it answered is not OTLP in JSON") from None
        if partial is None or not int(partial.rejected_spans):
            return []
        reason = f"the collector rejected {partial.rejected_spans} of {len(events)}: {partial.error_message}"
        return [Rejected(event, reason) for event in events]


def export_of(events: Sequence[RequestEvent]) -> dict[str, Any]:
    scope_spans = {"scope": {"name": "sluice"}, "spans": [span_of(event) for event in events]}
    resource = {"attributes": attributes_of({"service.name": "sluice"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope_spans]}]}


def span_of(event: RequestEvent) -> dict[str, Any]:
    trace, span = trace_and_span_of(event.id)
    operation = OPERATIONS.get(event.endpoint, "")
    name = f"{operation} {event.model}" if operation and event.model else f"{event.method} {event.endpoint}"
    began = round(event.at * 1e6) * 1000  # a float of this size is exact to a microsecond, not to a nanosecond
    status: dict[str, Any] = {"code": OK}
    if event.outcome != "complete":
        status = {"code": ERROR, "message": event.error or event.outcome}
    return {
        "traceId": trace,
        "spanId": span,
        "name": name,
        "kind": CLIENT,
        "startTimeUnixNano": str(began),
        "endTimeUnixNano": str(began + int(event.duration_ms * 1e6)),
        "attributes": attributes_of({**_conventions(event, operation), **_own(event)}),
        "status": status,
    }


def _conventions(event: RequestEvent, operation: str) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDERS.get(event.provider, event.provider),
        "gen_ai.request.model": event.model,
        "gen_ai.response.model": event.model_served,
        "gen_ai.response.id": event.response_id,
        "gen_ai.usage.input_tokens": event.prompt_tokens,
        "gen_ai.usage.output_tokens": event.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": event.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": event.cache_write_tokens,
        "error.type": "" if event.outcome == "complete" else event.error or event.outcome,
        "http.request.method": event.method,
        "http.response.status_code": event.status,
        "url.path": event.path,
        "client.address": event.ip,
        "enduser.id": None if event.user is None else str(event.user),
    }


def _own(event: RequestEvent) -> dict[str, Any]:
    """Return the attributes for which the conventions have no name."""
    return {
        "sluice.request.id": event.id,
        "sluice.correlation.id": event.correlation_id,
        "sluice.outcome": event.outcome,
        "sluice.stream": event.stream,
        "sluice.cache": event.cache,
        "sluice.attempts": event.attempts,
        "sluice.key.id": event.key,
        "sluice.project.id": event.project,
        "sluice.team.id": event.team,
        "sluice.tags": list(event.tags),
        "sluice.reasoning_tokens": event.reasoning_tokens,
        "sluice.time_to_first_byte_ms": event.ttft_ms,
        "sluice.cost_usd": None if event.cost_picousd is None else dollars(event.cost_picousd),
    }


def attributes_of(named: dict[str, Any]) -> list[dict[str, Any]]:
    """Return OTLP's attributes, without unknown values."""
    return [{"key": key, "value": value_of(value)} for key, value in named.items() if value not in (None, "", [])]


def value_of(value: Any) -> dict[str, Any]:
    """Return OTLP's `AnyValue`, whose JSON has 64-bit numbers as text."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [value_of(item) for item in value]}}
    return {"stringValue": str(value)}
