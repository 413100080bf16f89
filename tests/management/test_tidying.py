"""What is told and deleted by the clock."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from keys.models import VirtualKey
from keys.tasks import clear_sessions, expire_keys
from tests.kit.rows import make_key
from usage.ledger.totals import EVER, SLOT_S, spent_since
from usage.models import AuditEntry, ScopeTotal
from usage.tasks import prune_audit, prune_totals

pytestmark = pytest.mark.django_db


def ago(**span):
    return timezone.now() - timedelta(**span)


def expired_ids():
    return [entry.target_id for entry in AuditEntry.objects.filter(action="expire", target_kind="key")]


def test_a_key_whose_time_is_over_is_told_of_once():
    over = make_key("over", expires_at=ago(minutes=1))
    make_key("lasting", expires_at=ago(days=-1))
    make_key("endless", expires_at=None)
    assert expire_keys() == "1 expired"
    assert expire_keys() == "0 expired"
    assert expired_ids() == [str(over.pk)]
    assert VirtualKey.objects.get(pk=over.pk).status == "expired"
    assert VirtualKey.objects.get(pk=over.pk).is_active, "more time makes it good again"


def test_a_key_that_got_more_time_is_told_of_again():
    key = make_key(expires_at=ago(minutes=2))
    expire_keys()
    key.change(expires_at=ago(minutes=1))
    assert expire_keys() == "1 expired"
    assert expired_ids() == [str(key.pk)] * 2


def test_a_revoked_key_does_not_expire():
    make_key(expires_at=ago(minutes=1)).revoke()
    assert expire_keys() == "0 expired"


def test_thousands_of_keys_are_told_of_as_well(monkeypatch):
    monkeypatch.setattr("keys.models.virtual_key.EXPIRIES_AT_ONCE", 2)
    keys = [make_key(f"k{number}", expires_at=ago(minutes=1)) for number in range(5)]
    assert expire_keys() == "5 expired"
    assert sorted(expired_ids()) == sorted(str(key.pk) for key in keys)


def test_sessions_that_have_ended_are_deleted():
    Session.objects.create(session_key="old", session_data="", expire_date=ago(days=1))
    Session.objects.create(session_key="new", session_data="", expire_date=ago(days=-1))
    clear_sessions()
    assert [session.session_key for session in Session.objects.all()] == ["new"]


def test_slots_that_no_budget_reaches_back_to_are_deleted():
    now = int(timezone.now().timestamp()) // SLOT_S
    for slot in (EVER, now - 41 * 96, now - 32 * 96, now):
        ScopeTotal.objects.create(kind="key", ident="1", slot=slot, requests=1, cost_picousd=5)
    assert prune_totals() == "1 deleted"
    assert spent_since("key", ["1"], (now - 32 * 96) * SLOT_S) == {"1": 10}
    assert spent_since("key", ["1"], 0) == {"1": 5}


def test_the_audit_log_is_kept_for_ever_unless_somebody_says_otherwise(settings):
    AuditEntry.objects.create(actor_kind="system", action="old", created_at=ago(days=31))
    AuditEntry.objects.create(actor_kind="system", action="new")
    prune_audit()
    assert AuditEntry.objects.filter(action="old").exists()
    settings.AUDIT_RETENTION_DAYS = 30
    assert prune_audit() == "1 deleted"
    assert set(AuditEntry.objects.values_list("action", flat=True)) == {"new", "prune"}
