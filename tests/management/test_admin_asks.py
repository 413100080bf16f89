"""X72: what is done for good, or what programs feel, is asked about first, and is done by a POST alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from keys.models import VirtualKey
from tests.kit.admin_pages import changeable, one_of_each, tokens_in
from tests.kit.html_forms import fields_of, filled
from tests.kit.rows import make_key, make_project
from usage.models import DayRollup

LIST = "/admin/keys/virtualkey/"
FORM = "ask_form"


def add_usage(key, requests, refused=0, days_ago=0):
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)
    numbers = {field.name: 0 for field in DayRollup._meta.fields if field.get_internal_type() == "BigIntegerField"}
    place = {"at": midnight, "provider": "", "model": "m", "key_id": key.pk, "project_id": key.project_id}
    DayRollup.objects.create(**{**numbers, **place, "requests": requests, "refused": refused})


@pytest.fixture
def key(db):
    key = make_key("nightly", project=make_project("batch"))
    VirtualKey.objects.filter(pk=key.pk).update(last_used_at=datetime(2026, 11, 30, 8, 7, 6, tzinfo=UTC))
    add_usage(key, requests=1240, refused=6)
    add_usage(key, requests=99, days_ago=1)
    return key


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
def test_the_page_names_the_key_its_last_use_and_todays_requests(admin, key, verb):
    page = admin.get(f"{LIST}{key.pk}/{verb}/").content.decode()
    for text in ("nightly", key.mask, "batch", "2026-11-30 08:07:06 UTC", "1,234", "No, take me back"):
        assert text in page, text
    key.refresh_from_db()
    assert key.status == "active"


def test_revoking_is_asked_about_and_then_done(admin, key):
    address = f"{LIST}{key.pk}/revoke/"
    assert VirtualKey.objects.get().status == "active"
    assert admin.post(address).status_code == 200, "asked first, whatever was sent"
    assert VirtualKey.objects.get().status == "active"
    after = admin.post(address, fields_of(admin.get(address), FORM), follow=True)
    assert "Revoked key “nightly”." in after.content.decode()
    assert VirtualKey.objects.get().status == "revoked"


def test_a_rotation_leaves_the_old_token_an_hour_where_nothing_else_is_chosen(admin, key):
    address = f"{LIST}{key.pk}/rotate/"
    sent = fields_of(admin.get(address), FORM)
    assert sent["grace_seconds"] == ["3600"]
    before = timezone.now()
    page = admin.post(address, sent, follow=True)
    assert len(tokens_in(page)) == 1
    key.refresh_from_db()
    assert before + timedelta(hours=1) <= key.previous_until <= timezone.now() + timedelta(hours=1)


def test_a_rotation_at_once_is_chosen_in_words(admin, key):
    address = f"{LIST}{key.pk}/rotate/"
    page = admin.get(address)
    assert "programs that still send it are refused at once" in page.content.decode()
    admin.post(address, filled(page, FORM, grace_seconds="0"))
    key.refresh_from_db()
    assert key.previous_until is None


@pytest.mark.parametrize("grace", ["-1", "5", "x", None])
def test_a_grace_that_is_no_choice_is_asked_about_again(admin, key, grace):
    address = f"{LIST}{key.pk}/rotate/"
    page = admin.post(address, filled(admin.get(address), FORM, grace_seconds=grace))
    assert page.status_code == 200
    assert "errorlist" in page.content.decode()
    assert VirtualKey.objects.get().public_id == key.public_id


def test_a_page_that_stood_open_while_somebody_rotated_asks_again(admin, key):
    """Or the new token that the other person has just handed out would be refused."""
    sent = {verb: fields_of(admin.get(f"{LIST}{key.pk}/{verb}/"), FORM) for verb in ("rotate", "revoke")}
    VirtualKey.objects.get().rotate(3600)
    rotated = VirtualKey.objects.get()
    for verb in ("rotate", "revoke"):
        page = admin.post(f"{LIST}{key.pk}/{verb}/", sent[verb])
        assert "not what you were asked about any more" in page.content.decode()
        assert VirtualKey.objects.get().public_id == rotated.public_id
    told = admin.get(f"{LIST}{key.pk}/rotate/").content.decode()
    assert "The token before the last rotation, taken until" in told


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
def test_a_key_that_was_revoked_meanwhile_is_told_to_be_so(admin, key, verb):
    address = f"{LIST}{key.pk}/{verb}/"
    sent = fields_of(admin.get(address), FORM)
    VirtualKey.objects.get().revoke()
    assert "Key “nightly” is revoked, for good." in admin.post(address, sent, follow=True).content.decode()
    assert VirtualKey.objects.get().public_id == key.public_id


class TestMany:
    def test_selected_keys_are_named_before_they_are_revoked(self, admin, key):
        other, third = make_key("other"), make_key("third")
        add_usage(other, requests=6)
        sent = {"action": "revoke_selected", "_selected_action": [key.pk, other.pk], "index": "0", "select_across": "0"}
        page = admin.post(LIST, sent)
        told = page.content.decode()
        assert "Revoke 2 keys, for good?" in told
        assert "Today (UTC) 1,240 requests came with them." in told
        assert told.index("nightly") < told.index("other"), "who is used comes first"
        assert "third" not in told
        assert VirtualKey.objects.filter(revoked_at=None).count() == 3
        after = admin.post(LIST, fields_of(page, FORM), follow=True)
        assert "Revoked 2 keys." in after.content.decode()
        assert VirtualKey.objects.get(revoked_at=None) == third

    def test_one_key_is_one_key(self, admin, key):
        page = admin.post(LIST, {"action": "revoke_selected", "_selected_action": [key.pk]})
        assert "Revoke 1 key, for good?" in page.content.decode()
        assert "Revoked 1 key." in admin.post(LIST, fields_of(page, FORM), follow=True).content.decode()

    def test_of_a_whole_list_those_that_were_asked_about_are_revoked(self, admin, monkeypatch):
        monkeypatch.setattr("keys.admin.deeds.MOST_NAMED", 2)
        monkeypatch.setattr("keys.admin.deeds.IDS_IN_A_STATEMENT", 2)
        keys = [make_key(f"job {number}") for number in range(5)]
        other = make_key("other")
        address = f"{LIST}?q=job"
        chosen = {"action": "revoke_selected", "_selected_action": [keys[0].pk], "index": "0", "select_across": "1"}
        page = admin.post(address, chosen)
        told = page.content.decode()
        assert "Revoke 5 keys, for good?" in told
        assert "And 3 more keys." in told
        late = make_key("job late")
        page = admin.post(address, fields_of(page, FORM))
        assert "not what you were asked about any more" in page.content.decode()
        assert "Revoke 6 keys" in page.content.decode()
        late.revoke()
        page = admin.post(address, chosen)
        assert "Revoked 5 keys." in admin.post(address, fields_of(page, FORM), follow=True).content.decode()
        assert VirtualKey.objects.get(revoked_at=None) == other

    def test_where_all_are_revoked_there_is_nothing_to_ask(self, admin, key):
        key.revoke()
        page = admin.post(LIST, {"action": "revoke_selected", "_selected_action": [key.pk]}, follow=True)
        assert "All selected keys are revoked already." in page.content.decode()

    def test_users_are_deactivated_after_a_page_with_their_keys(self, admin, make_user):
        ann, bob = make_user(name="ann"), make_user(name="bob")
        for name in "abc":
            make_key(name, owner=ann)
        VirtualKey.objects.get(name="c").revoke()
        page = admin.post("/admin/auth/user/", {"action": "deactivate_selected", "_selected_action": [ann.pk]})
        assert "Deactivate 1 user?" in page.content.decode()
        assert [row[0::2] for row in page.context_data["question"].rows] == [("ann", "2")]
        assert User.objects.get(pk=ann.pk).is_active
        after = admin.post("/admin/auth/user/", fields_of(page, FORM), follow=True)
        assert "Deactivated 1 user." in after.content.decode()
        assert set(User.objects.filter(is_active=True).values_list("username", flat=True)) == {"bob", "root"}
        assert bob.is_active


def test_no_page_of_the_admin_changes_anything_when_it_is_looked_at(admin):
    made = one_of_each()
    pages = ["/admin/", "/admin/password_change/"]
    for model in django_admin.site._registry:
        place = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        pages.append(reverse(f"{place}_changelist"))
        row = made.get(model)
        if row is not None:
            pages += [reverse(f"{place}_{page}", args=[row.pk]) for page in ("change", "delete", "history")]
    pages += [reverse(f"admin:keys_virtualkey_{deed}", args=[made[VirtualKey].pk]) for deed in ("rotate", "revoke")]
    pages.append(reverse("admin:auth_user_password_change", args=[made[User].pk]))
    assert {model for model, _, _ in changeable()} == set(made)
    with CaptureQueriesContext(connection) as asked:
        for page in pages:
            assert admin.get(page).status_code in (200, 302, 403), page
    changes = [query["sql"] for query in asked if query["sql"].split()[0] in ("INSERT", "UPDATE", "DELETE")]
    assert [sql for sql in changes if not sql.startswith('INSERT INTO "usage_auditentry"')] == [], "but refusals"
