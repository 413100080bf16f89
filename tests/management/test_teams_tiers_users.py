"""Teams, tiers and users in the management API (F24, F31)."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from rest_framework.test import APIClient

from keys.models import Account, Team, Tier
from proxy.configuration.changes import current_version
from tests.kit.rows import make_key


def test_a_team_is_created_read_updated_and_deleted(api, make_user):
    ann = make_user()
    made = api.post("/api/teams", {"name": "crew", "members": ["ann"], "rpm": 5})
    assert made.status_code == 201
    assert (made.json()["members"], made.json()["rpm"]) == ([ann.pk], 5)
    path = f"/api/teams/{made.json()['id']}"
    assert api.get(path).json() == made.json()
    assert api.patch(path, {"members": []}).json()["members"] == []
    assert api.patch(path, {"members": [ann.account.public_id, ann.pk]}).json()["members"] == [ann.pk]
    assert api.patch(path, {"notes": "n"}).json()["members"] == [ann.pk]
    assert [row["name"] for row in api.get("/api/teams?search=cre").json()["results"]] == ["crew"]
    assert api.delete(path).status_code == 204


@pytest.mark.parametrize("wrong", [{"members": ["nobody"]}, {"members": "ann"}, {"members": [True]}, {"name": ""}])
def test_a_team_that_does_not_fit_is_400(api, wrong):
    assert api.post("/api/teams", {"name": "t", **wrong}).status_code == 400
    assert not Team.objects.exists()


@pytest.mark.parametrize("noun", ["teams", "tiers"])
def test_a_duplicate_name_is_409(api, noun):
    api.post(f"/api/{noun}", {"name": "n"})
    answer = api.post(f"/api/{noun}", {"name": "n"})
    assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_name")


def test_what_is_in_use_is_not_deleted_and_the_answer_says_why(api, make_user):
    owner, team = make_user(), Team.objects.create(name="t")
    key = make_key(owner=owner, team=team)
    key.revoke()
    free = Tier.default()
    for path, users in ((f"/api/teams/{team.pk}", "1 virtual key"), (f"/api/tiers/{free.pk}", "1 account")):
        answer = api.delete(path)
        assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
        assert users in answer.json()["detail"]


def test_a_user_who_owns_keys_is_not_deleted_in_the_admin(admin, make_user):
    owner = make_user()
    make_key(owner=owner)
    page = admin.post(f"/admin/auth/user/{owner.pk}/delete/", {"post": "yes"})
    assert "Cannot delete user" in page.content.decode()
    assert "deleting the following protected related objects" in " ".join(page.content.decode().split())
    assert User.objects.filter(pk=owner.pk).exists()


def test_a_user_without_keys_is_deleted_with_the_account(admin, make_user):
    owner = make_user()
    admin.post(f"/admin/auth/user/{owner.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(pk=owner.pk).exists()
    assert not Account.objects.filter(pk=owner.pk).exists()


def test_two_tiers_exist_from_the_start(db):
    assert list(Tier.objects.values_list("name", "daily_embeddings", "compute")) == [
        ("free", 1000, "byok"),
        ("paid", 50_000, "local"),
    ]


@pytest.mark.parametrize(
    "wrong", [{"daily_embeddings": -1}, {"daily_embeddings": 10**10}, {"compute": "cloud"}, {"name": None}], ids=str
)
def test_a_tier_that_does_not_fit_is_400(api, wrong):
    assert api.post("/api/tiers", {"name": "t", **wrong}).status_code == 400


def test_every_user_gets_an_account_on_the_free_tier(db):
    user = User.objects.create_user("ann")
    account = Account.objects.get(user=user)
    assert account.tier.name == "free"
    assert account.public_id.startswith("usr_")
    assert Account.objects.get(user=User.objects.create_superuser("root")).public_id != account.public_id


def test_an_account_is_made_where_signals_did_not_tell_of_the_user(api):
    [user] = User.objects.bulk_create([User(username="bulk")])
    assert Account.of(user).tier.name == "free"
    assert Account.of(user) == Account.of(User.objects.get())


def test_a_user_is_created_moved_to_another_tier_and_deactivated(api):
    made = api.post("/api/users", {"email": "Ann@Example.org", "tier": "paid", "budget": 5, "password": "long enough"})
    assert made.status_code == 201
    user = User.objects.get()
    assert (user.username, user.email, user.is_staff, user.check_password("long enough")) == (
        "ann@example.org",
        "ann@example.org",
        False,
        True,
    )
    assert "password" not in made.json()
    path = f"/api/users/{made.json()['id']}"
    assert (made.json()["tier"], made.json()["budget"], made.json()["email"]) == ("paid", "5.000000", user.email)
    assert api.patch(path, {"tier": "free"}).json()["tier"] == "free"
    before = current_version()
    assert api.patch(path, {"is_active": False}).json()["is_active"] is False
    assert not User.objects.get().is_active
    assert current_version() > before
    assert api.delete(path).status_code == 405
    assert [row["id"] for row in api.get("/api/users?is_active=false").json()["results"]] == [made.json()["id"]]
    assert api.get("/api/users?tier=paid").json()["results"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"email": "no address"},
        {"email": ""},
        {"email": "x" * 150 + "@example.org"},
        {"password": "short"},
        {"password": "x" * 1025},
        {"tier": "gold"},
        {"rpm": 0},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
def test_a_user_that_does_not_fit_is_400_and_not_made(api, wrong):
    assert api.post("/api/users", {"email": "a@example.org", **wrong}).status_code == 400
    assert not User.objects.exists()


def test_a_second_user_of_an_address_is_409(api):
    api.post("/api/users", {"email": "a@example.org"})
    answer = api.post("/api/users", {"email": "A@example.org"})
    assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_email")


def test_only_a_superuser_deactivates_staff(make_user):
    boss, clerk = make_user(name="boss", is_superuser=True), make_user("keys.change_account", name="clerk")
    client = APIClient()
    client.force_login(clerk)
    assert client.patch(f"/api/users/{boss.account.public_id}", {"is_active": False}).status_code == 403
    client.force_login(boss)
    assert client.patch(f"/api/users/{clerk.account.public_id}", {"is_active": False}).status_code == 200


def test_signing_in_is_no_change_of_the_configuration(make_user):
    user = make_user()
    before = current_version()
    APIClient().login(username="ann", password="pw")
    user.save(update_fields=["last_login"])
    assert current_version() == before


def test_users_of_before_get_accounts_by_migration(transactional_db):
    """The data migration, on rows that were there before it."""
    call_command("migrate", "keys", "0002", verbosity=0)
    try:
        with connection.cursor() as cursor:  # the models know columns that come later
            cursor.execute("DELETE FROM keys_account")
            cursor.execute("DELETE FROM keys_tier")
        User.objects.bulk_create([User(username=name) for name in "abc"])
    finally:
        call_command("migrate", verbosity=0)  # what builds on it went back too
    assert {account.tier.name for account in Account.objects.all()} == {"free"}
    assert len({account.public_id for account in Account.objects.all()}) == 3
    assert Tier.objects.get(name="paid").daily_embeddings == 50_000
