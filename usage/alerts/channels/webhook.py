"""The webhook channel: signed JSON."""

from __future__ import annotations

import time

import msgspec
from django.conf import settings

from usage.alerts.alert import Alert, Level
from usage.alerts.channels.base import Channel, document_of
from usage.sending.post import new_client, post
from usage.sending.signature import signed

TIMEOUT_S = 10.0
TYPES = {Level.THRESHOLD: "budget.threshold_reached", Level.BUDGET: "budget.used_up"}


class WebhookChannel(Channel):
    """Sends `{"type", "timestamp", "data": {…}}`, signed as in `usage/sending/signature.py`. Any 2xx is a success."""

    @staticmethod
    def is_set_up() -> bool:
        return bool(settings.ALERT_WEBHOOK_URL)

    def tell(self, alert: Alert) -> None:
        data = document_of(alert)
        document = {"type": TYPES[Level(alert.level)], "timestamp": data["created_at"], "data": data}
        body = msgspec.json.encode(document)
        headers = signed(settings.ALERT_WEBHOOK_SECRET, f"alert_{alert.pk}", body, time.time())
        with new_client(TIMEOUT_S) as client:
            post(client, settings.ALERT_WEBHOOK_URL, body, {**headers, "content-type": "application/json"})
