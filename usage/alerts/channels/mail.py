"""The mail channel: one mail to all addresses."""

from __future__ import annotations

from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage

from shown.cells import cell
from usage.alerts.alert import Alert, Level
from usage.alerts.channels.base import Channel, document_of, sentence_of
from usage.sending.post import Later


class MailChannel(Channel):
    """Sends through the server EMAIL_HOST. The `Message-ID` is made from the alert, so mail programs show it once."""

    @staticmethod
    def is_set_up() -> bool:
        return bool(settings.ALERT_EMAIL_TO)

    def tell(self, alert: Alert) -> None:
        what = "used up" if alert.level == Level.BUDGET else "near its end"
        host = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2]
        mail = EmailMessage(
            subject=" ".join(f"[Sluice] Budget {what}: {alert.kind} {alert.name}".split())[:150],
            body=written(alert),
            to=settings.ALERT_EMAIL_TO,
            headers={"Message-ID": f"<sluice-alert-{alert.pk}.{int(alert.created_at.timestamp())}@{host}>"},
        )
        try:
            mail.send()
        except (SMTPException, OSError) as error:
            raise Later(f"the mail server: {type(error).__name__}") from None


def written(alert: Alert) -> str:
    lines = "\n".join(f"{name}: {cell(name, value)}" for name, value in document_of(alert).items() if value is not None)
    return f"{sentence_of(alert)}\n\n{lines}\n"
