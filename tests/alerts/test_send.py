"""F108: alerts reach a webhook and a mailbox, through failures and crashes, once."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from decimal import Decimal
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from django.utils import timezone

from keys.models import VirtualKey
from tests.kit.dispatching import SECRET
from tests.kit.mail import TO, MailServer
from tests.kit.rows import make_key
from tests.kit.services import processes
from tests.kit.spent import spend
from tests.kit.upstream import Upstream, error_answer, json_answer
from usage.alerts import send as send_module
from usage.alerts.alert import Alert, AlertDelivery
from usage.alerts.channels.webhook import WebhookChannel
from usage.alerts.send import CLAIMED, send
from usage.alerts.tasks import look_for_alerts, send_waiting_alerts
from usage.sending.signature import verify

pytestmark = pytest.mark.django_db

TAKEN = json_answer({})


def crossed(name: str = "reports", usd: str = "0.9", **limits: Any) -> VirtualKey:
    """A key whose soft threshold was reached, and noticed."""
    key = make_key(name, **{"budget": Decimal(1), "period": "month", **limits})
    spend(usd, key=key.pk)
    assert look_for_alerts() == 1
    return key


def delivery(channel: str = "webhook") -> AlertDelivery:
    return AlertDelivery.objects.get(channel=channel)


def test_a_webhook_is_told_and_can_verify_who_told_it(webhook: Upstream):
    webhook.answers(TAKEN)
    key = crossed()
    assert send_waiting_alerts() == 1
    got = webhook.last
    verify(SECRET, dict(got.headers), got.body, time.time())
    alert = Alert.objects.get()
    assert got.header("webhook-id") == f"alert_{alert.pk}"
    document = got.json()
    assert document["type"] == "budget.threshold_reached"
    data = document["data"]
    assert (data["scope"], data["scope_id"], data["name"]) == ("key", str(key.pk), "reports")
    assert (data["spent_usd"], data["limit_usd"], data["budget_usd"]) == (
        "0.900000000000", "0.800000000000", "1.000000000000"
    )  # fmt: skip
    assert (data["period"], data["level"]) == ("month", "threshold")
    assert datetime.fromisoformat(data["period_start"]) < timezone.now() < datetime.fromisoformat(data["period_end"])
    assert send_waiting_alerts() == 0
    assert len(webhook.requests) == 1


def test_a_webhook_that_is_down_is_told_when_it_is_up(webhook: Upstream):
    webhook.answers(error_answer(503), error_answer(404), TAKEN)
    crossed()
    now = timezone.now()
    assert send_waiting_alerts() == 0
    first = delivery()
    assert (first.attempts, first.error, first.sent_at) == (1, "it answered 503", None)
    assert first.next_try_at is not None
    assert now < first.next_try_at < now + timedelta(seconds=10)
    assert send(now) == 0, "its time has not come"
    assert len(webhook.requests) == 1
    assert send(now + timedelta(minutes=1)) == 0
    assert send(now + timedelta(minutes=2)) == 1
    last = delivery()
    assert (last.attempts, last.error, last.next_try_at) == (3, "", None)
    assert last.sent_at is not None
    assert len({got.header("webhook-id") for got in webhook.requests}) == 1


def test_it_waits_as_long_as_the_webhook_asks_for(webhook: Upstream):
    webhook.answers(error_answer(429, retry_after="600"))
    crossed()
    send_waiting_alerts()
    next_try_at = delivery().next_try_at
    assert next_try_at is not None
    assert next_try_at > timezone.now() + timedelta(seconds=590)


def test_a_wrong_address_is_told_to_the_operator_without_its_secrets(webhook: Upstream, settings: Any, caplog: Any):
    settings.ALERT_WEBHOOK_URL = f"http://user:hunter2@127.0.0.1:{processes.free_port()}/alerts?token=hunter3"
    crossed()
    assert send_waiting_alerts() == 0
    assert delivery().error == "ConnectError"
    assert "cannot be told by webhook: ConnectError" in caplog.text
    assert "hunter" not in caplog.text
    assert SECRET not in caplog.text


def test_after_three_days_it_is_given_up(webhook: Upstream, caplog: Any):
    webhook.script = error_answer(500)
    crossed()
    Alert.objects.update(created_at=timezone.now() - timedelta(days=3))
    assert send_waiting_alerts() == 0
    assert (delivery().next_try_at, delivery().sent_at) == (None, None)
    assert "given up" in caplog.text
    assert send(timezone.now() + timedelta(days=1)) == 0
    assert len(webhook.requests) == 1


def test_mail_arrives_at_all_addresses(mailbox: MailServer):
    crossed("reports\nBcc: everybody@example.org")
    assert send_waiting_alerts() == 1
    [(recipients, text)] = mailbox.mails
    mail = message_from_bytes(text, policy=default)
    assert recipients == TO
    assert (mail["From"], mail["To"], mail["Bcc"]) == ("sluice@example.org", ", ".join(TO), None)
    assert mail["Subject"] == "[Sluice] Budget near its end: key reports Bcc: everybody@example.org"
    assert mail["Message-ID"].startswith(f"<sluice-alert-{Alert.objects.get().pk}.")
    body = mail.get_content()
    assert "has spent $0.90 of $1.00 of its budget for this month." in body
    assert "scope: key" in body


def test_a_mail_server_that_refuses_gets_it_later(mailbox: MailServer):
    mailbox.refusing = True
    crossed()
    assert send_waiting_alerts() == 0
    assert delivery("email").error == "the mail server: SMTPSenderRefused"
    mailbox.refusing = False
    assert send(timezone.now() + timedelta(minutes=1)) == 1
    assert len(mailbox.mails) == 1


def test_a_mail_server_that_is_away_gets_it_later(mailbox: MailServer, settings: Any):
    settings.EMAIL_PORT = processes.free_port()
    crossed()
    assert send_waiting_alerts() == 0
    assert delivery("email").error == "the mail server: ConnectionRefusedError"
    settings.EMAIL_PORT = mailbox.port
    assert send(timezone.now() + timedelta(minutes=1)) == 1


def test_one_channel_does_not_wait_for_the_other(webhook: Upstream, mailbox: MailServer):
    webhook.answers(error_answer(500))
    crossed()
    assert send_waiting_alerts() == 1
    assert (delivery("email").sent_at is None, delivery("webhook").sent_at is None) == (False, True)


def test_without_a_channel_an_alert_is_kept_and_nothing_waits():
    crossed()
    assert Alert.objects.count() == 1
    assert not AlertDelivery.objects.exists()
    assert send_waiting_alerts() == 0


def test_of_two_that_see_the_same_delivery_one_makes_it(webhook: Upstream):
    webhook.script = TAKEN
    crossed()
    seen_by_both = delivery()
    assert [send_module._send(seen_by_both), send_module._send(seen_by_both)] == [True, False]
    assert len(webhook.requests) == 1


def test_who_dies_between_sending_and_noting_it_has_it_sent_again_after_its_claim(
    webhook: Upstream, monkeypatch: pytest.MonkeyPatch
):
    webhook.script = TAKEN
    crossed()
    real = WebhookChannel.tell

    def and_die(*args: Any) -> None:
        real(*args)
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(WebhookChannel, "tell", and_die)
        with pytest.raises(SystemExit):
            send_waiting_alerts()
    assert send_waiting_alerts() == 0
    assert send(timezone.now() + CLAIMED) == 1
    first, second = webhook.requests
    assert first.header("webhook-id") == second.header("webhook-id")
