"""The request log: one JSON line for each request. No prompt, no answer, no secret is in it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from usage.event import RequestEvent

_encoder = msgspec.json.Encoder()


def log_line(event: RequestEvent) -> str:
    line = {
        "at": datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds"),
        "level": "info",
        "logger": "sluice.requests",
        "request_id": event.id,
        "correlation_id": event.correlation_id,
        "method": event.method,
        "path": event.path[:200],
        "status": event.status,
        "outcome": event.outcome,
        "error": event.error,
        "key": event.key_id,
        "project": event.project_id,
        "provider": event.provider,
        "model": event.model,
        "stream": event.stream,
        "prompt_tokens": event.prompt_tokens,
        "completion_tokens": event.completion_tokens,
        "ttft_ms": event.ttft_ms,
        "duration_ms": event.duration_ms,
        "ip": event.ip,
    }
    return _encoder.encode(line).decode()
