"""Who spends, and who is told."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from django.utils import timezone

from tests.kit.services import processes
from tests.kit.upstream import Upstream
from usage.event import RequestEvent
from usage.ledger.write import write_events

SECRET = "a-secret-of-the-tests-0123456789"
TO = ["ops@example.org", "billing@example.org"]

_numbers = itertools.count()


def spend(usd: str, *, at: datetime | None = None, **whose: Any) -> None:
    """A request that has ended, written as the ledger's process does: `spend("0.5", key=1)`."""
    moment = (at or timezone.now()).timestamp()
    event = RequestEvent(f"spent_{next(_numbers)}", moment, "POST", "/v1/x", 200, "complete", 1.0, requests=1, **whose)
    event.cost_picousd = int(Decimal(usd) * 10**12)
    write_events([event])


class MailServer:
    """A real SMTP server: `mails` are (recipients, text). `refusing` lets it answer 451 to every sender."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], bytes]] = []
        self.refusing = False
        self._controller = Controller(self, hostname="127.0.0.1", port=processes.free_port())
        self._controller.start()
        self.port: int = self._controller.port

    async def handle_MAIL(  # noqa: N802 - as aiosmtpd calls it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refusing:
            return "451 Not now"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.mails.append((envelope.rcpt_tos, envelope.content))
        return "250 OK"

    def close(self) -> None:
        self._controller.stop()


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
