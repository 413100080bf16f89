"""X19: a form of the admin that stood open while others changed what it shows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone

from keys.models import Account, GlobalLimits, Project, Team, Tier, VirtualKey
from providers.models import Credential, Provider
from shown.merged_form import MergedForm
from shown.merging import MatchedList, Merging
from tests.kit.admin_pages import changeable, one_of_each
from tests.kit.html_forms import fields_of, filled
from tests.kit.rows import SECRET, make_credential, make_key, make_project, make_provider
from usage.audit.entry import AuditEntry
from usage.prices.override import PriceOverride

KEYS, PROJECTS = "/admin/keys/virtualkey/", "/admin/keys/project/"
PROVIDERS, CREDENTIALS, TEAMS = "/admin/providers/provider/", "/admin/providers/credential/", "/admin/keys/team/"


def page_of(admin, row):
    address = f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/change/"
    return address, admin.get(address), f"{row._meta.model_name}_form"


def errors_in(page):
    context = page.context_data
    found = context["adminform"].form.errors if "adminform" in context else {}
    return {name: " ".join(texts) for name, texts in found.items()}


def test_a_key_that_was_disabled_meanwhile_stays_so(admin):
    key = make_key(notes="old")
    address, page, form = page_of(admin, key)
    VirtualKey.objects.get().change(is_active=False, rpm=7)
    AuditEntry.objects.all().delete()
    after = admin.post(address, filled(page, form, notes="new"), follow=True)
    key.refresh_from_db()
    assert (key.is_active, key.rpm, key.notes) == (False, 7, "new")
    told = after.content.decode()
    assert "Others changed" in told
    assert "Is active" in told
    assert AuditEntry.objects.get(target_kind="key").changes == {"notes": ["old", "new"]}


def test_a_form_that_nobody_touched_writes_nothing(admin):
    key = make_key(
        notes=" two\nlines\r\nand a space ",
        metadata={"b": [1, 2], "a": "é"},
        tags=["x, y", "z"],
        budget=Decimal("1.50"),
        expires_at=datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        allowed_models=["gpt-*"],
    )
    before = VirtualKey.objects.values().get()
    address, page, form = page_of(admin, key)
    AuditEntry.objects.all().delete()
    assert admin.post(address, filled(page, form)).status_code == 302
    assert VirtualKey.objects.values().get() == before
    assert not AuditEntry.objects.exists()


def test_where_both_changed_the_same_the_form_says_so_and_asks_again(admin):
    key = make_key(rpm=5, notes="old")
    address, page, form = page_of(admin, key)
    VirtualKey.objects.get().change(rpm=50, is_active=False)
    page = admin.post(address, filled(page, form, rpm="500", notes="new"))
    assert page.status_code == 200
    assert "Now in force: “50”" in errors_in(page)["rpm"]
    assert list(errors_in(page)) == ["rpm"]
    sent_again = filled(page, form)
    assert (sent_again["rpm"], sent_again["notes"], "is_active" in sent_again) == (["500"], ["new"], False)
    key.refresh_from_db()
    assert (key.rpm, key.notes) == (50, "old"), "nothing is written before the person decides"

    VirtualKey.objects.get().change(rpm=60)  # once more meanwhile
    page = admin.post(address, sent_again)
    assert "Now in force: “60”" in errors_in(page)["rpm"]
    assert admin.post(address, filled(page, form)).status_code == 302
    key.refresh_from_db()
    assert (key.rpm, key.notes, key.is_active) == (500, "new", False)


def test_whoever_takes_what_is_in_force_writes_nothing_of_it(admin):
    key = make_key(rpm=5)
    address, page, form = page_of(admin, key)
    VirtualKey.objects.get().change(rpm=50)
    page = admin.post(address, filled(page, form, rpm="500"))
    AuditEntry.objects.all().delete()
    assert admin.post(address, filled(page, form, rpm="50")).status_code == 302
    assert VirtualKey.objects.get().rpm == 50
    assert not AuditEntry.objects.exists()


def test_both_who_wrote_the_same_agree(admin):
    key = make_key(rpm=5)
    address, page, form = page_of(admin, key)
    VirtualKey.objects.get().change(rpm=50)
    assert admin.post(address, filled(page, form, rpm="50")).status_code == 302


def test_what_a_person_sets_back_to_what_it_was_is_written(admin):
    """Django's own hidden value of some fields, of the first page, would call this unchanged."""
    key = make_key(metadata={"a": 1})
    address, page, form = page_of(admin, key)
    VirtualKey.objects.get().change(metadata={"a": 2})
    page = admin.post(address, filled(page, form, metadata='{"a": 3}'))
    assert "Now in force: “{&quot;a&quot;: 2}”" in page.content.decode()
    admin.post(address, filled(page, form, metadata='{"a": 1}'))
    assert VirtualKey.objects.get().metadata == {"a": 1}


def test_what_fits_what_was_shown_and_not_what_is_in_force_is_refused(admin):
    key = make_key(rps=5)
    address, page, form = page_of(admin, key)
    VirtualKey.objects.get().change(rps=None)
    page = admin.post(address, filled(page, form, burst="9"))
    assert "set `rps` too" in errors_in(page)["burst"]
    assert filled(page, form)["rps"] == [""]


def test_an_error_elsewhere_shows_what_is_in_force_by_now(admin):
    key = make_key(rpm=5)
    address, page, form = page_of(admin, key)
    VirtualKey.objects.get().change(rpm=50)
    page = admin.post(address, filled(page, form, tpm="none"))
    assert list(errors_in(page)) == ["tpm"]
    admin.post(address, filled(page, form, tpm="9"))
    key.refresh_from_db()
    assert (key.rpm, key.tpm) == (50, 9)


def test_a_choice_and_a_switch_are_told_in_words(admin, make_user):
    key = make_key(project=make_project("first"))
    second, third = make_project("second"), make_project("third")
    address, page, form = page_of(admin, key)
    ann, bob = make_user(name="ann"), make_user(name="bob")
    VirtualKey.objects.get().change(
        project=second, period="week", owner=ann, expires_at=datetime(2030, 1, 2, tzinfo=UTC)
    )
    wanted = {"project": str(third.pk), "period": "month", "owner": str(bob.pk), "expires_at_0": "2031-01-01"}
    errors = errors_in(admin.post(address, filled(page, form, **wanted, expires_at_1="00:00:00")))
    assert "“second”" in errors["project"]
    assert "“Week”" in errors["period"]
    assert "“ann”" in errors["owner"]
    assert "“2030-01-02 00:00:00”" in errors["expires_at"]


def test_a_key_that_was_revoked_meanwhile_is_told_to_be_so(admin):
    key = make_key()
    address, page, form = page_of(admin, key)
    VirtualKey.objects.get().revoke()
    after = admin.post(address, filled(page, form, name="new"), follow=True)
    assert after.status_code == 200
    assert "Key “k” is revoked, for good. Nothing of the form was saved." in after.content.decode()
    assert VirtualKey.objects.get().name == "k"


def test_a_row_that_was_deleted_meanwhile_is_told_to_be_so(admin):
    project = make_project("gone")
    address, page, form = page_of(admin, project)
    project.delete()
    after = admin.post(address, filled(page, form, notes="new"), follow=True)
    assert "was deleted meanwhile. Nothing that you wrote for it was saved." in after.content.decode()
    assert not Project.objects.filter(name="gone").exists()


def test_members_who_joined_meanwhile_stay(admin, make_user):
    ann, bob, cid = (make_user(name=name) for name in ("ann", "bob", "cid"))
    team = Team.objects.create(name="t")
    team.members.set([ann])
    address, page, form = page_of(admin, team)
    team.members.add(bob)
    admin.post(address, filled(page, form, notes="new"))
    assert set(team.members.all()) == {ann, bob}
    team.refresh_from_db()
    assert team.notes == "new"
    page = admin.post(address, filled(page, form, members=[str(ann.pk), str(cid.pk)]))
    assert "Now in force: “ann, bob”" in errors_in(page)["members"]
    admin.post(address, filled(page, form))
    assert set(team.members.all()) == {ann, cid}


def test_a_user_who_signed_in_meanwhile_has_done_so(admin, make_user):
    user = make_user(name="ann")
    address, page, form = page_of(admin, user)
    assert user.password not in page.content.decode()
    moment = timezone.now()
    User.objects.filter(pk=user.pk).update(last_login=moment, is_active=False, password="changed")
    admin.post(address, filled(page, form, email="ann@example.org"))
    user.refresh_from_db()
    assert (user.last_login, user.is_active, user.password) == (moment, False, "changed")
    assert user.email == "ann@example.org"


def test_a_secret_is_not_in_the_page_and_both_who_change_it_are_told(admin):
    credential = make_credential()
    address, page, form = page_of(admin, credential)
    assert SECRET not in page.content.decode()
    Credential.objects.get().change(secret="sk-of-somebody-else-4321")
    assert admin.post(address, filled(page, form, alias="renamed")).status_code == 302
    credential.refresh_from_db()
    assert (credential.alias, credential.secret) == ("renamed", "sk-of-somebody-else-4321")
    page = admin.post(address, filled(page, form, secret="sk-mine-0123456789"))
    assert "…4321" in errors_in(page)["secret"]
    assert "sk-mine" not in page.content.decode()
    assert "somebody-else" not in page.content.decode()
    admin.post(address, filled(page, form, secret="sk-mine-0123456789"))
    credential.refresh_from_db()
    assert credential.secret == "sk-mine-0123456789"


def test_a_providers_own_key_that_was_changed_meanwhile_is_told(admin):
    provider = make_provider(credential_alias="default")
    credential = make_credential(provider=provider)
    address, page, form = page_of(admin, provider)
    Credential.objects.get().change(secret="sk-of-somebody-else-4321")
    assert admin.post(address, filled(page, form, weight="3")).status_code == 302
    page = admin.post(address, filled(page, form, api_key="sk-mine-0123456789"))
    assert "…4321" in errors_in(page)["api_key"]
    credential.refresh_from_db()
    assert credential.secret == "sk-of-somebody-else-4321"


class TestTheEditableList:
    form = "changelist-form"

    def test_a_provider_that_was_disabled_meanwhile_stays_so(self, admin):
        first, second = make_provider("a"), make_provider("b")
        page = admin.get(PROVIDERS)
        Provider.objects.get(pk=first.pk).change(is_enabled=False, weight=7)
        Provider.objects.get(pk=second.pk).change(is_enabled=False)
        AuditEntry.objects.all().delete()
        after = admin.post(PROVIDERS, filled(page, self.form, **{"form-0-priority": "2", "_save": "Save"}), follow=True)
        assert "Others changed" in after.content.decode()
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.is_enabled, first.weight, first.priority) == (False, 7, 2)
        assert second.is_enabled is False
        assert AuditEntry.objects.get(target_kind="provider").changes == {"priority": [0, 2]}

    def test_both_changed_the_same_and_the_list_has_another_order_by_now(self, admin):
        first, second = make_provider("a"), make_provider("b")
        page = admin.get(PROVIDERS)
        Provider.objects.get(pk=first.pk).change(priority=9, weight=7)
        page = admin.post(PROVIDERS, filled(page, self.form, **{"form-0-weight": "5", "_save": "Save"}))
        rows = page.context_data["cl"].result_list
        forms = page.context_data["cl"].formset.forms
        assert [row.pk for row in rows] == [form.instance.pk for form in forms] == [first.pk, second.pk]
        assert "Now in force: “7”" in " ".join(forms[0].errors["weight"])
        above, _, _ = page.content.decode().partition("result_list")
        assert "a, Weight: Somebody else changed this" in above, "a cell of a wide table may be out of sight"
        assert admin.post(PROVIDERS, filled(page, self.form, _save="Save")).status_code == 302
        first.refresh_from_db()
        assert (first.weight, first.priority) == (5, 9)

    def test_a_row_that_was_deleted_meanwhile_is_told_and_the_others_are_saved(self, admin):
        first, second = make_provider("a"), make_provider("b")
        page = admin.get(PROVIDERS)
        told = f"The provider with ID “{first.pk}” was deleted meanwhile. Nothing that you wrote for it was saved."
        first.delete()
        sent = filled(page, self.form, **{"form-0-weight": "5", "form-1-weight": "6", "_save": "Save"})
        page = admin.post(PROVIDERS, {**sent, "form-1-priority": "x"})
        assert told in page.content.decode()
        assert [form.instance.pk for form in page.context_data["cl"].formset.forms] == [second.pk]
        sent = filled(page, self.form, **{"form-1-priority": "1", "_save": "Save"})
        assert admin.post(PROVIDERS, sent).status_code == 302
        second.refresh_from_db()
        assert (second.weight, second.priority, Provider.objects.count()) == (6, 1, 1)


def test_every_page_on_which_something_can_be_changed_merges(db):
    found = changeable()
    assert len(found) >= 10
    for model, page, request in found:
        assert isinstance(page, Merging), f"{type(page).__name__} of {model.__name__} takes no `Merging`"
        assert issubclass(page.get_form(request, model(pk=1), change=True), MergedForm), model
        assert isinstance(page, django_admin.ModelAdmin)
        if page.list_editable:
            assert issubclass(page.get_changelist_form(request), MergedForm), model
            assert issubclass(page.get_changelist(request), MatchedList), model
    for model, page in django_admin.site._registry.items():
        for inline in page.get_inline_instances(found[0][2]):
            may = inline.has_change_permission(found[0][2], None) or inline.has_add_permission(found[0][2], None)
            assert not may, f"{type(inline).__name__} of {model.__name__} can be changed, and does not merge"


@pytest.mark.parametrize("model", [model for model, _, _ in changeable()], ids=lambda model: model.__name__)
def test_an_untouched_form_of_every_kind_counts_as_untouched(admin, model):
    row = one_of_each()[model]
    before = model.objects.filter(pk=row.pk).values().get()
    AuditEntry.objects.all().delete()
    address, page, form = page_of(admin, row)
    sent = fields_of(page, form)
    assert "_shown" in sent
    after = admin.post(address, sent)
    assert after.status_code == 302, errors_in(after)
    assert model.objects.filter(pk=row.pk).values().get() == before
    assert not AuditEntry.objects.exists()


# What others change of each kind, and what the person does in the form: fields, values, and how the form has it.
BOTH = {
    Provider: ("weight", 7, "base_url", "http://other/v1"),
    Credential: ("provider", None, "alias", "renamed"),
    User: ("is_active", False, "email", "b@example.org"),
    Group: (None, None, "name", "renamed"),
    GlobalLimits: ("rpm", 7, "tpm", "9"),
    Team: ("rpm", 7, "notes", "new"),
    Account: ("rpm", 7, "tpm", "9"),
    Tier: ("daily_embeddings", 7, "name", "renamed"),
    VirtualKey: ("is_active", False, "tags", "new"),
    Project: ("is_active", False, "notes", "new"),
    PriceOverride: ("input", Decimal("7.000000"), "output", "9.00"),
}


@pytest.mark.parametrize("model", [model for model, _, _ in changeable()], ids=lambda model: model.__name__)
def test_of_every_kind_what_others_and_the_person_changed_are_both_in(admin, model):
    others, value, own, text = BOTH[model]
    row = one_of_each()[model]
    address, page, form = page_of(admin, row)
    if others is None:
        row.permissions.add(Permission.objects.first())
    else:
        model.objects.filter(pk=row.pk).update(**{others: value})
    after = admin.post(address, filled(page, form, **{own: text}))
    assert after.status_code == 302, errors_in(after)
    row.refresh_from_db()
    assert row.permissions.exists() if others is None else getattr(row, others) == value, others
    assert filled(admin.get(address), form)[own] == [text]
