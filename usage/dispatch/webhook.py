"""The dispatcher to a webhook: signed JSON."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from usage.dispatch.base import Dispatcher, Rejected
from usage.dispatch.shape import document_of
from usage.event import RequestEvent
from usage.sending.post import post
from usage.sending.signature import signed


class WebhookDispatcher(Dispatcher):
    """Sends `{"type": "requests", "data": [event, …]}`, signed as in `usage/sending/signature.py`.

    Any 2xx means that the batch was delivered. `webhook-id` is the same for the same events. After a crash events may
    come again in another batch, so each event has its `id` as well.
    """

    needs: ClassVar = ("url", "secret")
    takes: ClassVar = ("headers",)

    def deliver(self, events: Sequence[RequestEvent]) -> list[Rejected]:
        body = msgspec.json.encode({"type": "requests", "data": [document_of(event) for event in events]})
        headers = {
            **dict(self.target.headers),
            "content-type": "application/json",
            **signed(self.target.secret, batch_id(events), body, time.time()),
        }
        post(self.client, self.target.url, body, headers)
        return []


def batch_id(events: Sequence[RequestEvent]) -> str:
    """Return an id that is the same for the same events in the same order."""
    return "batch_" + hashlib.sha256("\n".join(event.id for event in events).encode()).hexdigest()[:32]
