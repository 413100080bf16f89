"""X82: what pages say of money, moments, states and numbers; and that machines get decimals without an exponent."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib.admin import site
from django.core import mail
from django.db.models import DecimalField
from django.test import Client
from django.utils import timezone

from keys.models import VirtualKey
from shown.cells import MONEY
from tests.kit.rows import make_alert, make_key, make_provider, make_record
from usage.alerts.channels.base import document_of, sentence_of
from usage.alerts.channels.mail import MailChannel
from usage.audit.entry import AuditEntry
from usage.prices.override import PriceOverride

EXPONENT = re.compile(r"\b[0-9.]+E[+-]?[0-9]+\b")
MOMENT = "2026-11-30 08:07:06 UTC"


def text_of(page):
    assert page.status_code == 200
    return " ".join(re.sub(r"<[^>]*>", " ", page.content.decode()).split())


@pytest.fixture
def price(db):
    make_provider("p")
    return PriceOverride.objects.create(provider="p", model="m", input=Decimal("0.000001"), output=Decimal("12.5"))


def test_a_small_budget_is_what_it_is(admin):
    key = make_key(budget=Decimal("0.00001"), period="day")
    assert "$0.00001 a day" in text_of(admin.get("/admin/keys/virtualkey/"))
    page = admin.get(f"/admin/keys/virtualkey/{key.pk}/change/")
    assert "$0.00 of $0.00001 (0 %), whole again at" in text_of(page)
    assert 'value="0.00001"' in page.content.decode()


def test_prices_are_amounts(admin, api, price):
    listed = text_of(admin.get("/admin/usage/priceoverride/"))
    assert "$0.000001" in listed
    assert "$12.50" in listed
    page = admin.get(f"/admin/usage/priceoverride/{price.pk}/change/").content.decode()
    assert 'value="0.00"' in page
    assert not EXPONENT.search(page)
    told = api.get("/api/prices/effective?provider=p&model=m").json()
    assert (told["per_request"], told["input"]) == ("0.000000000000", "0.000001")


def test_no_amount_is_forgotten(api, price):
    for model, page in site._registry.items():
        amounts = {field.name for field in model._meta.fields if isinstance(field, DecimalField)}
        raw = [name for name in page.list_display if name in amounts]
        assert raw == [], f"{type(page).__name__} shows {raw} as Python writes them"
    told = {**api.get(f"/api/prices/{price.pk}").json(), **api.get("/api/prices/effective?provider=p&model=m").json()}
    amounts = {name for name, value in told.items() if re.fullmatch(r"[0-9]+\.[0-9]+", str(value))}
    assert amounts
    assert amounts <= MONEY


def test_the_audit_log_has_decimals_without_an_exponent(api, price):
    api.patch(f"/api/prices/{price.pk}", {"per_request": "0.000000000001"})
    entry = AuditEntry.objects.filter(target_kind="price", action="update").latest("pk")
    assert entry.changes["per_request"] == ["0.000000000000", "0.000000000001"]
    assert not EXPONENT.search(api.get("/api/audit").content.decode())


def test_costs_of_requests(admin):
    make_record("r1", cost_picousd=0)
    make_record("r2", cost_picousd=12_345_678, created_at=datetime(2026, 11, 30, 8, 7, 6, tzinfo=UTC))
    make_record("r3", cost_picousd=None)
    listed = text_of(admin.get("/admin/usage/requestrecord/"))
    assert "$0.00001234 " in listed
    assert "$0.00 " in listed
    assert MOMENT in listed
    assert "$0.000012345678" in text_of(admin.get("/admin/usage/requestrecord/r2/change/"))


def test_alerts_in_the_admin_by_mail_and_by_webhook(admin, settings):
    settings.ALERT_EMAIL_TO = ["ops@example.org"]
    alert = make_alert(budget_picousd=10**7, limit_picousd=8 * 10**6, spent_picousd=9 * 10**6)
    assert "$0.000009 $0.000008 $0.00001" in text_of(admin.get("/admin/usage/alert/"))
    assert "$0.00001" in text_of(admin.get(f"/admin/usage/alert/{alert.pk}/change/"))
    assert "$0.000009 of $0.00001 of its budget" in sentence_of(alert)
    MailChannel().tell(alert)
    assert "spent_usd: $0.000009" in mail.outbox[0].body
    assert "created_at: 2026-11-20T12:00:00Z" in mail.outbox[0].body
    assert document_of(alert)["spent_usd"] == "0.000009000000"


@pytest.mark.parametrize("may", [(), ("keys.change_virtualkey",)], ids=["looks", "changes"])
@pytest.mark.parametrize("state", ["active", "inactive", "expired", "revoked"])
def test_a_key_has_one_state(make_user, state, may):
    key = make_key(
        is_active=state != "inactive", expires_at=datetime(2020, 1, 1, tzinfo=UTC) if state == "expired" else None
    )
    if state == "revoked":
        key.revoke()
    client = Client()
    client.force_login(make_user("keys.view_virtualkey", *may))
    page = client.get(f"/admin/keys/virtualkey/{key.pk}/change/")
    assert f"Status: {state} " in text_of(page)
    assert "icon-yes" not in page.content.decode()
    assert ("Is active" in text_of(page)) == (bool(may) and state != "revoked"), "the switch is for who may use it"
    assert state in text_of(client.get("/admin/keys/virtualkey/"))


def test_moments_have_seconds_and_a_zone(admin):
    key = make_key()
    VirtualKey.objects.filter(pk=key.pk).update(last_used_at=datetime(2026, 11, 30, 8, 7, 6, 5, tzinfo=UTC))
    listed = text_of(admin.get("/admin/keys/virtualkey/"))
    assert MOMENT in listed
    assert not re.search(r"\b[ap]\.m\.", listed)
    assert MOMENT in text_of(admin.get(f"/admin/keys/virtualkey/{key.pk}/change/"))
    assert f"{timezone.now():%Y-%m-%d} " in text_of(admin.get(f"/admin/keys/project/{key.project_id}/change/"))


def test_one_account_is_one_account(admin, make_user):
    sent = {"action": "put_on_paid", "_selected_action": [make_user().pk]}
    assert "Put 1 account on the tier" in text_of(admin.post("/admin/keys/account/", sent, follow=True))
