"""F108: alerts in the API and the admin: to be read, with how far telling of them has come."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.kit.rows import make_alert
from usage.models import AlertDelivery


def test_an_alert_is_told_with_its_amounts_and_deliveries(api):
    alert = make_alert()
    AlertDelivery.objects.create(alert=alert, channel="webhook", attempts=2, error="it answered 500")
    [told] = api.get("/api/alerts").json()["results"]
    assert told == {
        "id": alert.pk,
        "created_at": "2026-11-20T12:00:00Z",
        "level": "threshold",
        "scope": "key",
        "scope_id": "1",
        "name": "k",
        "user": None,
        "period": "month",
        "period_start": "2026-11-01T00:00:00Z",
        "period_end": "2026-12-01T00:00:00Z",
        "budget_usd": "1.000000000000",
        "limit_usd": "0.800000000000",
        "spent_usd": "0.900000000000",
        "deliveries": [
            {"channel": "webhook", "attempts": 2, "next_try_at": None, "sent_at": None, "error": "it answered 500"}
        ],
    }
    assert api.get(f"/api/alerts/{alert.pk}").json() == told


@pytest.mark.parametrize(
    "query, found",
    [
        ("", ["b", "a"]),
        ("level=budget", ["b"]),
        ("scope=team", ["b"]),
        ("scope=key&scope_id=1", ["a"]),
        ("created_after=2026-11-20T13:00:00Z", ["b"]),
        ("created_before=2026-11-20T13:00:00Z", ["a"]),
    ],
)
def test_alerts_are_filtered(api, query: str, found: list[str]):
    make_alert(name="a")
    make_alert(name="b", level="budget", kind="team", created_at=datetime(2026, 11, 20, 14, tzinfo=UTC))
    assert [row["name"] for row in api.get(f"/api/alerts?{query}").json()["results"]] == found


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_alerts_are_only_read(api, method: str):
    alert = make_alert()
    assert getattr(api, method)(f"/api/alerts/{alert.pk}", {}).status_code == 405


def test_the_admin_shows_who_was_told_and_changes_nothing(admin):
    alert = make_alert(name="reports")
    AlertDelivery.objects.create(alert=alert, channel="webhook", sent_at=alert.created_at)
    AlertDelivery.objects.create(alert=alert, channel="email", next_try_at=alert.created_at, error="it was away")
    listing = admin.get("/admin/usage/alert/").content.decode()
    assert "reports" in listing
    assert "webhook, email (waits)" in listing
    page = admin.get(f"/admin/usage/alert/{alert.pk}/change/").content.decode()
    assert "it was away" in page
    assert "$0.90" in page
    assert admin.post(f"/admin/usage/alert/{alert.pk}/change/", {"name": "x"}).status_code == 403
    assert admin.get("/admin/usage/alert/add/").status_code == 403
