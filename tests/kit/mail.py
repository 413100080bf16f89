"""A real SMTP server."""

from __future__ import annotations

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.kit.services import processes

TO = ["ops@example.org", "billing@example.org"]
"""The recipients of alerts."""


class MailServer:
    """A real SMTP server. `mails` are (recipients, content). While `refusing`, it answers 451 to every sender."""

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
