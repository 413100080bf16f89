"""Who may do what: every endpoint, for every sort of caller."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from keys.models import Account, Team, Tier, VirtualKey
from keys.user_tokens import issue_token
from tests.kit.rows import (
    TOKEN,
    make_alert,
    make_cached,
    make_credential,
    make_key,
    make_project,
    make_provider,
    make_record,
    new_user,
)
from usage.models import AuditEntry, DayRollup, PriceOverride, RequestBodies
from usage.rollups.state import SUMS

pytestmark = pytest.mark.any_database

KEY = {"name": "new"}
NAMED = {"name": "new"}
PROVIDER = {"name": "new", "kind": "simulator"}
PRICE = {"model": "m", "input": "1", "output": "2"}
CREDENTIAL = {"alias": "new", "secret": "sk-0123456789abcdef"}
USER = {"email": "new@example.org"}


class Row(NamedTuple):
    """One endpoint: what staff need for it, and what whoever owns its row and whoever does not are answered."""

    method: str
    path: str
    body: Any
    permission: str
    allowed: int
    owner: int = 403
    other: int = 403


def resource(noun: str, model: str, body: Any, ident: str = "") -> list[Row]:
    """All verbs of one, which nobody owns."""
    one = f"/api/{noun}/{{{ident or noun[:-1]}}}"
    app = {"providers": "providers", "credentials": "providers", "prices": "usage"}.get(noun, "keys")
    return [
        Row("get", f"/api/{noun}", None, f"{app}.view_{model}", 200),
        Row("post", f"/api/{noun}", body, f"{app}.add_{model}", 201),
        Row("get", one, None, f"{app}.view_{model}", 200),
        Row("put", one, body, f"{app}.change_{model}", 200),
        Row("patch", one, {}, f"{app}.change_{model}", 200),
        Row("delete", one, None, f"{app}.delete_{model}", 204),
    ]


TABLE = [
    *resource("projects", "project", NAMED),
    Row("get", "/api/keys", None, "keys.view_virtualkey", 200, 200, 200),
    Row("post", "/api/keys", KEY, "keys.add_virtualkey", 201, 201, 201),
    Row("get", "/api/keys/{key}", None, "keys.view_virtualkey", 200, 200, 404),
    Row("put", "/api/keys/{key}", KEY, "keys.change_virtualkey", 200, 200, 404),
    Row("patch", "/api/keys/{key}", {}, "keys.change_virtualkey", 200, 200, 404),
    Row("delete", "/api/keys/{key}", None, "keys.delete_virtualkey", 204, 204, 404),
    Row("post", "/api/keys/{key}/revoke", None, "keys.change_virtualkey", 200, 200, 404),
    Row("post", "/api/keys/{key}/rotate", None, "keys.change_virtualkey", 200, 200, 404),
    Row("get", "/api/keys/{key}/usage", None, "keys.view_virtualkey", 200, 200, 404),
    Row("post", "/api/keys/revoke", {"project": "default"}, "keys.change_virtualkey", 200),
    Row("post", "/api/keys/validate", {"key": "x"}, "", 200, 200, 200),
    *[
        row._replace(owner=200, other=404 if "{" in row.path else 200) if row.method == "get" else row
        for row in resource("teams", "team", NAMED)
    ],
    *resource("tiers", "tier", NAMED),
    Row("get", "/api/users", None, "keys.view_account", 200, 200, 200),
    Row("post", "/api/users", USER, "keys.add_account", 201),
    Row("get", "/api/users/{user}", None, "keys.view_account", 200, 200, 404),
    Row("put", "/api/users/{user}", {}, "keys.change_account", 200),
    Row("patch", "/api/users/{user}", {}, "keys.change_account", 200),
    Row("get", "/api/limits/global", None, "keys.view_globallimits", 200),
    Row("patch", "/api/limits/global", {}, "keys.change_globallimits", 200),
    *resource("providers", "provider", PROVIDER),
    *resource("credentials", "credential", CREDENTIAL),
    *resource("prices", "priceoverride", PRICE),
    Row("get", "/api/prices/effective?provider=up&model=m", None, "usage.view_priceoverride", 200),
    Row("get", "/api/audit", None, "usage.view_auditentry", 200),
    Row("get", "/api/audit/{entry}", None, "usage.view_auditentry", 200),
    Row("get", "/api/alerts", None, "usage.view_alert", 200, 200, 200),
    Row("get", "/api/alerts/{alert}", None, "usage.view_alert", 200, 200, 404),
    Row("get", "/api/requests", None, "usage.view_requestrecord", 200, 200, 200),
    Row("get", "/api/requests/{record}", None, "usage.view_requestrecord", 200, 200, 404),
    Row("get", "/api/requests/{record}/bodies", None, "usage.view_requestrecord", 200, 200, 404),
    Row("delete", "/api/requests/{record}/bodies", None, "usage.delete_requestrecord", 204),
    Row("get", "/api/responses", None, "cache.view_cachedresponse", 200),
    Row("get", "/api/responses/{answer}", None, "cache.view_cachedresponse", 200),
    Row("get", "/api/responses/{answer}/frames", None, "cache.view_cachedresponse", 200),
    Row("get", "/api/cache", None, "cache.view_cachedresponse", 200),
    Row("post", "/api/cache/purge", {"all": True}, "cache.add_cachepurge", 201),
    Row("get", "/api/usage", None, "usage.view_hourrollup", 200, 200, 200),
    Row("get", "/api/usage/budgets", None, "", 200, 200, 200),
    Row("get", "/api/config/version", None, "proxy.view_configchange", 200),
    Row("post", "/api/config/reload", None, "proxy.add_configchange", 200),
]
FOR_ANYBODY = {("post", "/api/auth/validate/")}
"""What is answered without knowing who asks."""

EVERY = {row.permission for row in TABLE if row.permission}

endpoints = pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
slashes = pytest.mark.parametrize("slash", ["", "/"])


@pytest.fixture(scope="module")
def made(module_db):
    owner = new_user(name="owner", is_staff=False)
    team = Team.objects.create(name="t")
    team.members.add(owner)
    Account.of(owner).change(budget=5)
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    place = {"project_id": 0, "key_id": 0, "team_id": 0, "provider": "up", "model": "m", "tags_id": 0}
    DayRollup.objects.create(at=today, user_id=owner.pk, **place, **dict.fromkeys(SUMS, 1))
    return {
        "project": make_project().pk,
        "key": make_key(owner=owner).pk,
        "team": team.pk,
        "tier": Tier.objects.create(name="t").pk,
        "user": owner.account.public_id,
        "provider": make_provider().pk,
        "answer": make_cached("a" * 64 + "s").pk,
        "credential": make_credential().pk,
        "record": RequestBodies.objects.create(pk=make_record(user=owner).pk, created_at=timezone.now()).pk,
        "alert": make_alert(user=owner).pk,
        "entry": AuditEntry.objects.create(actor_kind="system", action="create").pk,
        "price": PriceOverride.objects.create(model="there", input=1, output=2).pk,
    }


def call(client, row, rows, slash=""):
    address, mark, query = row.path.format(**rows).partition("?")
    return getattr(client, row.method)(address + slash + mark + query, row.body)


def signed_in(user):
    client = APIClient()
    client.force_login(user)
    return client


def test_the_table_has_every_endpoint_of_the_schema(db):
    paths = APIClient().get("/api/schema?format=json").json()["paths"]
    schema = {(verb, re.sub("{[a-z]+}", "{}", path)) for path, verbs in paths.items() for verb in verbs}
    told = {(row.method, re.sub("{[a-z]+}", "{}", row.path.partition("?")[0]) + "/") for row in TABLE}
    assert told == schema - FOR_ANYBODY


@endpoints
@slashes
def test_anonymous_callers_are_401_and_told_how_to_authenticate(rows, row, slash):
    answer = call(APIClient(), row, rows, slash)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer ")
    assert "detail" in answer.json()


@endpoints
def test_owners_do_what_they_may_with_their_own(rows, row):
    answer = call(signed_in(User.objects.get(username="owner")), row, rows)
    assert answer.status_code == row.owner
    if row.owner == 200 and "results" in answer.json():
        assert len(answer.json()["results"]) == 1


@endpoints
def test_other_users_see_and_change_nothing_of_it(rows, make_user, row):
    """Not even with permissions: those count for staff alone."""
    answer = call(signed_in(make_user(*EVERY, name="other", is_staff=False)), row, rows)
    assert answer.status_code == row.other
    if row.other == 200 and "results" in answer.json():
        expected = ["other"] if row.path == "/api/users" else []
        assert [found.get("username") for found in answer.json()["results"]] == expected
    assert VirtualKey.objects.get(pk=rows["key"]).status == "active"


@endpoints
def test_staff_without_the_permission_are_users_like_others(rows, make_user, row):
    answer = call(signed_in(make_user(*EVERY - {row.permission})), row, rows)
    assert answer.status_code == row.other


@endpoints
def test_staff_with_the_permission_are_served(rows, make_user, row):
    client = signed_in(make_user(*([row.permission] if row.permission else [])))
    assert call(client, row, rows).status_code == row.allowed


@endpoints
@slashes
def test_the_management_token_is_served(rows, api, row, slash):
    assert call(api, row, rows, slash).status_code == row.allowed


@endpoints
def test_a_users_token_is_as_good_as_the_session(rows, row):
    client = APIClient()
    token = issue_token(User.objects.get(username="owner"), timezone.now())
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert call(client, row, rows).status_code == row.owner


@pytest.mark.parametrize("offered", ["Bearer wrong", f"Bearer {TOKEN}x", "Bearer", "Bearer ", "Bearer \xff"])
def test_a_wrong_token_is_401(db, offered):
    assert APIClient().get("/api/keys", HTTP_AUTHORIZATION=offered).status_code == 401


@pytest.mark.parametrize("offered", ["Bearer", "Bearer ", "Bearer  ", "Bearer None"])
def test_without_a_configured_token_no_token_is_right(db, settings, offered):
    settings.MANAGEMENT_TOKEN = ""
    assert APIClient().get("/api/keys", HTTP_AUTHORIZATION=offered).status_code == 401


def test_the_scheme_may_have_any_case(db):
    assert APIClient().get("/api/keys", HTTP_AUTHORIZATION=f"bEARER {TOKEN}").status_code == 200


def test_a_session_needs_the_csrf_token_to_change_something(make_user):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(make_user("keys.add_project"))
    assert client.post("/api/projects", {"name": "forged"}).status_code == 403


def test_a_user_who_was_deactivated_is_turned_away(make_user):
    client, user = APIClient(), make_user("keys.view_project")
    client.force_login(user)
    user.is_active = False
    user.save()
    assert client.get("/api/projects").status_code == 401


def test_storing_a_secret_with_a_provider_takes_the_credentials_permissions_too(make_user):
    client, user = APIClient(), make_user("providers.add_provider")
    client.force_login(user)
    body = {"name": "x", "base_url": "http://upstream/v1", "api_key": "sk-0123456789abcdef"}
    assert client.post("/api/providers", body).status_code == 403
