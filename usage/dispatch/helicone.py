"""The dispatcher to Helicone (https://helicone.ai), in the cloud or self-hosted."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import msgspec

from usage.dispatch.base import Dispatcher, Later, PartlyDelivered, Refused, Rejected
from usage.dispatch.ids import uuid_of
from usage.dispatch.shape import dollars
from usage.event import RequestEvent
from usage.sending.post import post

AT_ONCE = 8


class HeliconeDispatcher(Dispatcher):
    """Sends `POST /custom/v1/log` for each event, several at once.

    https://docs.helicone.ai/getting-started/integration-method/manual-logger-curl. By `Helicone-Request-Id` an event
    that comes twice is stored once. Events contain no prompts and no answers. Helicone computes costs from the model's
    name and the tokens; Sluice's cost is sent as a property.
    """

    needs: ClassVar = ("api_key",)
    takes: ClassVar = ("url",)
    default_url: ClassVar = "https://api.worker.helicone.ai"
    most_events: ClassVar = 100

    def wants(self, event: RequestEvent) -> bool:
        return bool(event.model)

    def deliver(self, events: Sequence[RequestEvent]) -> list[Rejected]:
        with ThreadPoolExecutor(min(AT_ONCE, len(events))) as pool:
            failures = list(pool.map(self._send, events))
        rejected = [
            Rejected(event, f"{failure}; {failure.detail}")
            for event, failure in zip(events, failures, strict=True)
            if isinstance(failure, Refused)
        ]
        later = next((failure for failure in failures if isinstance(failure, Later)), None)
        if later is None:
            return rejected
        # Rejected events are passed again with the others, and are rejected again when the others have arrived.
        delivered = [event for event, failure in zip(events, failures, strict=True) if failure is None]
        raise PartlyDelivered(delivered, later)

    def _send(self, event: RequestEvent) -> Refused | Later | None:
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.target.api_key}"}
        url = f"{self.target.url.rstrip('/')}/custom/v1/log"
        try:
            post(self.client, url, msgspec.json.encode(log_of(event)), headers)
        except (Refused, Later) as failure:
            return failure
        return None


def log_of(event: RequestEvent) -> dict[str, Any]:
    model = event.model_served or event.model
    usage = {"prompt_tokens": event.prompt_tokens, "completion_tokens": event.completion_tokens}
    counted = {name: count for name, count in usage.items() if count is not None}
    properties = {
        "Provider": event.provider,
        "Endpoint": event.endpoint,
        "Outcome": event.outcome,
        "Key": event.key,
        "Project": event.project,
        "Team": event.team,
        "Tags": ",".join(event.tags),
        "Correlation-Id": event.correlation_id,
        "Cost-USD": None if event.cost_picousd is None else dollars(event.cost_picousd),
        "Sluice-Request-Id": event.id,
    }
    meta = {f"Helicone-Property-{name}": str(value) for name, value in properties.items() if value not in (None, "")}
    if event.user is not None:
        meta["Helicone-User-Id"] = str(event.user)
    answer: dict[str, Any] = {"id": event.response_id or event.id, "model": model}
    if counted:
        answer["usage"] = {**counted, "total_tokens": sum(counted.values())}
    if event.outcome != "complete":
        answer["error"] = {"message": event.error or event.outcome}
    timing = {"startTime": _moment(event.at), "endTime": _moment(event.at + event.duration_ms / 1000)}
    return {
        "providerRequest": {
            "url": "custom-model-nopath",
            # Not named `stream`: Helicone would read the answer below, which is an object, as a stream.
            "json": {"model": event.model, "streamed": event.stream},
            "meta": {"Helicone-Request-Id": uuid_of(event.id), **meta},
        },
        "providerResponse": {"status": event.status, "headers": {}, "json": answer},
        "timing": timing if event.ttft_ms is None else {**timing, "timeToFirstToken": event.ttft_ms},
    }


def _moment(at: float) -> dict[str, int]:
    seconds, milliseconds = divmod(int(at * 1000), 1000)
    return {"seconds": seconds, "milliseconds": milliseconds}
