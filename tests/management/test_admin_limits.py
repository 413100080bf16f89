"""Limits, teams, tiers, accounts and users in a superuser's browser."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from keys.models import COUNTS, Account, GlobalLimits, Project, Team, Tier, VirtualKey
from keys.tokens import read_token
from proxy.configuration.changes import current_version
from tests.kit.admin_pages import confirmed, key_form, tokens_in
from tests.kit.rows import make_key, make_project

BLANK = {
    **dict.fromkeys((*COUNTS, "budget", "time_zone"), ""),
    "period": "total",
    "soft_threshold": "0.8",
}


def test_a_project_and_a_team_get_limits_and_a_budget(admin, make_user):
    ann = make_user()
    limits = {**BLANK, "rpm": "60", "budget": "12.5", "period": "month"}
    admin.post("/admin/keys/project/add/", {"name": "p", "is_active": "on", **limits})
    admin.post("/admin/keys/team/add/", {"name": "t", "members": [ann.pk], **limits})
    for row in (Project.objects.get(name="p"), Team.objects.get()):
        assert (row.rpm, row.budget, row.period, row.tpm) == (60, Decimal("12.5"), "month", None)
    assert list(Team.objects.get().members.all()) == [ann]


@pytest.mark.parametrize(
    "wrong", [{"rpm": "0"}, {"budget": "-1"}, {"burst": "5"}, {"time_zone": "Mars"}, {"soft_threshold": "2"}], ids=str
)
def test_what_no_limit_can_be_is_an_error_in_the_form(admin, wrong):
    page = admin.post("/admin/keys/team/add/", {"name": "t", **BLANK, **wrong})
    assert "errorlist" in page.content.decode()
    assert not Team.objects.exists()


def test_a_key_shows_its_limits_and_what_it_spent(admin):
    key = make_key(rpm=60, budget=Decimal(10), period="day")
    assert "60 requests/min, $10.00 a day" in admin.get("/admin/keys/virtualkey/").content.decode()
    page = admin.get(f"/admin/keys/virtualkey/{key.pk}/change/").content.decode()
    assert "$0.00 of $10.00 (0 %), whole again at" in page


def test_a_new_key_begins_with_the_defaults_and_blank_means_none(admin, settings):
    settings.KEY_DEFAULT_RPM = 77
    project = make_project()
    assert 'value="77"' in admin.get("/admin/keys/virtualkey/add/").content.decode()
    admin.post("/admin/keys/virtualkey/add/", key_form(project, rpm=""))
    assert VirtualKey.objects.get().rpm is None


def test_a_rotation_may_leave_the_old_token_a_grace(admin):
    key = make_key()
    address = f"/admin/keys/virtualkey/{key.pk}/rotate/"
    page = confirmed(admin, address, grace_seconds="86400")
    after = VirtualKey.objects.get()
    assert read_token(tokens_in(page)[0], "sk-sluice-").public_id == after.public_id
    assert after.previous_public_id == key.public_id
    page = confirmed(admin, address, grace_seconds="-1")
    assert tokens_in(page) == []
    assert VirtualKey.objects.get().public_id == after.public_id


def test_accounts_are_put_on_a_tier_together_and_one_sentence_says_so(admin, make_user):
    for name in "abc":
        make_user(name=name)
    before = current_version()
    chosen = [User.objects.get(username=name).pk for name in "ab"]
    page = admin.post(
        "/admin/keys/account/", {"action": "put_on_paid", "_selected_action": chosen}, follow=True
    ).content.decode()
    assert "Put 2 accounts on the tier" in page
    assert set(Account.objects.filter(tier__name="paid").values_list("pk", flat=True)) == set(chosen)
    assert current_version() >= before + 2


def test_an_account_is_neither_added_nor_deleted_by_itself(admin, make_user):
    account = Account.objects.get(user=make_user())
    assert admin.get("/admin/keys/account/add/").status_code == 403
    assert admin.post(f"/admin/keys/account/{account.pk}/delete/", {"post": "yes"}).status_code == 403
    page = admin.get(f"/admin/keys/account/{account.pk}/change/").content.decode()
    assert account.public_id in page


def test_global_limits_are_one_page(admin):
    page = admin.get("/admin/keys/globallimits/", follow=True)
    assert page.redirect_chain[-1][0].endswith("/add/")
    admin.post("/admin/keys/globallimits/add/", {**BLANK, "parallel": "9"})
    assert GlobalLimits.objects.get().parallel == 9
    page = admin.get("/admin/keys/globallimits/", follow=True)
    assert page.redirect_chain[-1][0].endswith("/1/change/")
    assert admin.get("/admin/keys/globallimits/add/").status_code == 403


def test_a_tier_in_use_and_a_project_with_keys_are_not_deleted(admin, make_user):
    make_user()
    key = make_key(project=make_project("busy"))
    free = Tier.default()
    for path in (f"/admin/keys/tier/{free.pk}", f"/admin/keys/project/{key.project_id}"):
        page = " ".join(admin.post(f"{path}/delete/", {"post": "yes"}).content.decode().split())
        assert "protected related objects" in page or "Cannot delete" in page
    assert Tier.objects.filter(pk=free.pk).exists()
    assert Project.objects.filter(pk=key.project_id).exists()


@pytest.mark.parametrize("page", ["virtualkey", "project", "team", "account", "tier"])
def test_a_list_of_many_takes_as_many_queries_as_one_of_few(admin, page, make_user):
    def more(start):
        for number in range(start, start + 3):
            team = Team.objects.create(name=f"t{number}")
            make_key(
                f"k{number}",
                owner=make_user(name=f"u{number}"),
                team=team,
                project=make_project(f"p{number}"),
                budget=1,
            )
            Tier.objects.create(name=f"x{number}")

    def queries():
        with CaptureQueriesContext(connection) as found:
            assert admin.get(f"/admin/keys/{page}/").status_code == 200
        return len(found)

    more(0)
    few = queries()
    more(10)
    assert queries() == few


def test_users_lead_to_their_accounts(admin, make_user):
    account = Account.objects.get(user=make_user())
    assert f"/admin/keys/account/{account.pk}/change/" in admin.get("/admin/auth/user/").content.decode()


def test_selected_users_are_deactivated_and_whoever_does_it_stays(admin, make_user):
    users = [make_user(name=name) for name in "abc"]
    before = current_version()
    chosen = [users[0].pk, users[1].pk, User.objects.get(username="root").pk]
    sent = {"action": "deactivate_selected", "_selected_action": chosen}
    page = confirmed(admin, "/admin/auth/user/", sent)
    assert "Deactivated 2 users." in page.content.decode()
    assert set(User.objects.filter(is_active=False)) == set(users[:2])
    assert current_version() >= before + 2
