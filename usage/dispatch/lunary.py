"""The dispatcher to Lunary (https://lunary.ai), in the cloud or self-hosted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec

from usage.dispatch.base import Dispatcher, Later, Rejected
from usage.dispatch.ids import uuid_of
from usage.dispatch.shape import dollars
from usage.event import RequestEvent
from usage.sending.post import post

TYPES = {"/v1/embeddings": "embed"}
ALREADY_THERE = "already exists"


class Result(msgspec.Struct):
    id: str | None = None
    success: bool = False
    error: str = ""


class Results(msgspec.Struct):
    results: list[Result] = []


class LunaryDispatcher(Dispatcher):
    """Sends `POST /v1/runs/ingest` with a project's public or private key. Each request is a `start` and an `end` or
    `error`.

    https://docs.lunary.ai/api/runs/ingest-run-events. The answer has a result for each of the two. A run that "already
    exists" was sent a second time, and counts as delivered. Events contain no prompts and no answers: Lunary shows who
    asked which model, the tokens, and the duration.
    """

    needs: ClassVar = ("api_key",)
    takes: ClassVar = ("url",)
    default_url: ClassVar = "https://api.lunary.ai"
    most_events: ClassVar = 200

    def wants(self, event: RequestEvent) -> bool:
        return bool(event.model)

    def deliver(self, events: Sequence[RequestEvent]) -> list[Rejected]:
        body = msgspec.json.encode({"events": [part for event in events for part in run_of(event)]})
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.target.api_key}"}
        answer = post(self.client, f"{self.target.url.rstrip('/')}/v1/runs/ingest", body, headers)
        try:
            results = msgspec.json.decode(answer, type=Results).results
        except msgspec.MsgspecError:
            if answer.lstrip().startswith(b"<"):  # an HTML page of a proxy in front of Lunary
                raise Later("what it answered is not Lunary's") from None
            results = []  # the events were accepted, and the answer has no results
        wrong = {
            result.id: result.error for result in results if not result.success and ALREADY_THERE not in result.error
        }
        return [Rejected(event, wrong[run]) for event in events if (run := uuid_of(event.id)) in wrong]


def run_of(event: RequestEvent) -> list[dict[str, Any]]:
    run: dict[str, Any] = {"type": TYPES.get(event.endpoint, "llm"), "runId": uuid_of(event.id)}
    about = {
        "request_id": event.id,
        "provider": event.provider,
        "status_code": event.status,
        "outcome": event.outcome,
        "stream": event.stream,
        "key": event.key,
        "project": event.project,
        "team": event.team,
        "correlation_id": event.correlation_id,
        "cost_usd": None if event.cost_picousd is None else dollars(event.cost_picousd),
    }
    start = {
        **run,
        "event": "start",
        "name": event.model_served or event.model,
        "timestamp": _moment(event.at),
        "tags": list(event.tags),
        "metadata": {name: value for name, value in about.items() if value not in (None, "")},
        **({} if event.user is None else {"userId": str(event.user)}),
    }
    # Lunary sorts events by time, so the end must be at least a millisecond after the start.
    end: dict[str, Any] = {**run, "timestamp": _moment(event.at + max(event.duration_ms, 1.0) / 1000)}
    if event.outcome == "complete":
        counts = {"prompt": event.prompt_tokens, "completion": event.completion_tokens}
        token_counts = {name: count for name, count in counts.items() if count is not None}
        return [start, {**end, "event": "end", **({"tokensUsage": token_counts} if token_counts else {})}]
    return [start, {**end, "event": "error", "error": {"message": event.error or event.outcome}}]


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
