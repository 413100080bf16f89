"""Who spends, and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.dispatching import SECRET
from tests.kit.mail import TO, MailServer
from tests.kit.upstream import Upstream


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.close()


@pytest.fixture
def webhook(settings: Any, upstream: Upstream) -> Upstream:
    """Alerts are told to it."""
    settings.ALERT_WEBHOOK_URL = f"{upstream.url}/alerts"
    settings.ALERT_WEBHOOK_SECRET = SECRET
    return upstream


@pytest.fixture
def mailbox(settings: Any, mail_server: MailServer) -> MailServer:
    """Alerts are told to it."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", mail_server.port
    settings.DEFAULT_FROM_EMAIL = "sluice@example.org"
    settings.ALERT_EMAIL_TO = TO
    return mail_server
