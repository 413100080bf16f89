"""F108: many requests at once on two servers, many who look and send at once: one alert for each threshold."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit.dispatching import SECRET
from tests.kit.environment import ROOT
from tests.kit.fleet import Fleet, fleet_of
from tests.kit.mail import MailServer
from tests.kit.management import changed, limited_key, set_price
from tests.kit.requests import ask
from tests.kit.services import processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer, usage_of
from tests.kit.waiting import soon
from usage.sending.signature import verify

pytestmark = pytest.mark.any_database
WORK = """
from usage.alerts.tasks import look_for_alerts, send_waiting_alerts
print("made", look_for_alerts(), "sent", send_waiting_alerts())
"""
WAIT_S = 30.0
TOKENS = 100_000
"""Of an answer: at 1 USD for a million, 0.1 USD."""


@pytest.fixture
def fleet(upstream: Upstream, receiver: Upstream, mail_server: MailServer) -> Iterator[Fleet]:
    upstream.script = chat_answer(usage=usage_of(10, TOKENS))
    told: dict[str, Any] = {
        "ALERT_WEBHOOK_URL": f"{receiver.url}/alerts",
        "ALERT_WEBHOOK_SECRET": SECRET,
        "ALERT_EMAIL_TO": "ops@example.org",
        "EMAIL_URL": f"smtp://127.0.0.1:{mail_server.port}",
        "EMAIL_FROM": "sluice@example.org",
    }
    with fleet_of(upstream, workers=1, **told) as servers:
        yield servers


def at_once(server: Sluice, times: int = 4) -> str:
    """What so many processes that look and send at the same moment write."""

    def run(number: int) -> str:
        log = server.directory / f"work-{number}.log"
        with log.open("wb") as output:
            command = [sys.executable, "manage.py", "shell", "-c", WORK]
            process = processes.start(command, env=server.env, cwd=ROOT, output=output)
        code = process.wait(60)
        processes.sweep(process)
        text = log.read_text()
        assert code == 0, text
        return text

    with ThreadPoolExecutor(times) as pool:
        return "".join(pool.map(run, range(times)))


def spent(server: Sluice, path: str) -> float:
    return float(server.api("GET", path).json()["spent"])


def traffic(fleet: Fleet, token: str, count: int) -> list[int]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda n: ask(fleet.servers[n % 2], token).status_code, range(count)))


@pytest.mark.timeout(180)
def test_a_threshold_that_many_cross_at_once_is_told_once(fleet: Fleet, receiver: Upstream, mail_server: MailServer):
    set_price(fleet.first, "gpt-4.1-mini")
    token, path = limited_key(fleet.first, "key", budget="2", period="month", soft_threshold="0.5")

    assert set(traffic(fleet, token, 12)) == {200}
    soon(lambda: spent(fleet.first, path) >= 1.2, WAIT_S)
    at_once(fleet.last)
    [got] = receiver.wait_for(1)
    verify(SECRET, dict(got.headers), got.body, time.time())
    assert got.json()["data"]["level"] == "threshold"
    soon(lambda: len(mail_server.mails) == 1, WAIT_S)  # a server's own look may be at it

    assert set(traffic(fleet, token, 4)) == {200}
    soon(lambda: spent(fleet.first, path) >= 1.6, WAIT_S)
    at_once(fleet.last)
    assert len(receiver.requests) == len(mail_server.mails) == 1

    soon(lambda: 429 in traffic(fleet, token, 8) and spent(fleet.first, path) >= 2, WAIT_S)
    at_once(fleet.first)
    at_once(fleet.last)
    soon(lambda: len(receiver.requests) == len(mail_server.mails) == 2, WAIT_S)
    assert [got.json()["data"]["level"] for got in receiver.requests] == ["threshold", "budget"]

    changed(fleet.first, path, budget="20")
    assert set(traffic(fleet, token, 1)) == {200}
    at_once(fleet.first)
    assert len(receiver.requests) == 2
    alerts = fleet.last.api("GET", "/api/alerts").json()["results"]
    assert [alert["level"] for alert in alerts] == ["budget", "threshold"]
    assert all(delivery["sent_at"] for alert in alerts for delivery in alert["deliveries"])
