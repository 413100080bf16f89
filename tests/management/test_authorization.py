"""Who may do what: every endpoint, for every sort of caller."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from tests.management.conftest import TOKEN, make_credential, make_key, make_project, make_provider, make_record

KEY = {"name": "new"}
PROJECT = {"name": "new"}
PROVIDER = {"name": "new", "kind": "simulator"}
CREDENTIAL = {"alias": "new", "secret": "sk-0123456789abcdef"}

# method, path, body, permission that it takes, status when allowed
TABLE = [
    ("get", "/api/projects", None, "keys.view_project", 200),
    ("post", "/api/projects", PROJECT, "keys.add_project", 201),
    ("get", "/api/projects/{project}", None, "keys.view_project", 200),
    ("put", "/api/projects/{project}", PROJECT, "keys.change_project", 200),
    ("patch", "/api/projects/{project}", {}, "keys.change_project", 200),
    ("delete", "/api/projects/{project}", None, "keys.delete_project", 204),
    ("get", "/api/keys", None, "keys.view_virtualkey", 200),
    ("post", "/api/keys", KEY, "keys.add_virtualkey", 201),
    ("get", "/api/keys/{key}", None, "keys.view_virtualkey", 200),
    ("put", "/api/keys/{key}", KEY, "keys.change_virtualkey", 200),
    ("patch", "/api/keys/{key}", {}, "keys.change_virtualkey", 200),
    ("delete", "/api/keys/{key}", None, "keys.delete_virtualkey", 204),
    ("post", "/api/keys/{key}/revoke", None, "keys.change_virtualkey", 200),
    ("post", "/api/keys/{key}/rotate", None, "keys.change_virtualkey", 200),
    ("post", "/api/keys/revoke", {"project": "default"}, "keys.change_virtualkey", 200),
    ("get", "/api/providers", None, "providers.view_provider", 200),
    ("post", "/api/providers", PROVIDER, "providers.add_provider", 201),
    ("get", "/api/providers/{provider}", None, "providers.view_provider", 200),
    ("put", "/api/providers/{provider}", PROVIDER, "providers.change_provider", 200),
    ("patch", "/api/providers/{provider}", {}, "providers.change_provider", 200),
    ("delete", "/api/providers/{provider}", None, "providers.delete_provider", 204),
    ("get", "/api/credentials", None, "providers.view_credential", 200),
    ("post", "/api/credentials", CREDENTIAL, "providers.add_credential", 201),
    ("get", "/api/credentials/{credential}", None, "providers.view_credential", 200),
    ("put", "/api/credentials/{credential}", CREDENTIAL, "providers.change_credential", 200),
    ("patch", "/api/credentials/{credential}", {}, "providers.change_credential", 200),
    ("delete", "/api/credentials/{credential}", None, "providers.delete_credential", 204),
    ("get", "/api/requests", None, "usage.view_requestrecord", 200),
    ("get", "/api/requests/{record}", None, "usage.view_requestrecord", 200),
]
EVERY = {
    f"{app}.{verb}_{model}"
    for app, model in (
        ("keys", "project"),
        ("keys", "virtualkey"),
        ("providers", "provider"),
        ("providers", "credential"),
        ("usage", "requestrecord"),
    )
    for verb in ("view", "add", "change", "delete")
}

endpoints = pytest.mark.parametrize("method,path,body,permission,allowed", TABLE)
slashes = pytest.mark.parametrize("slash", ["", "/"])


@pytest.fixture
def rows(db):
    return {
        "project": make_project().pk,
        "key": make_key().pk,
        "provider": make_provider().pk,
        "credential": make_credential().pk,
        "record": make_record().pk,
    }


def call(client, method, path, body, rows, slash=""):
    return getattr(client, method)(path.format(**rows) + slash, body)


@endpoints
@slashes
def test_anonymous_callers_are_401_and_told_how_to_authenticate(rows, method, path, body, permission, allowed, slash):
    answer = call(APIClient(), method, path, body, rows, slash)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer ")
    assert "detail" in answer.json()


@endpoints
def test_users_who_are_not_staff_are_403(rows, make_user, method, path, body, permission, allowed):
    client = APIClient()
    client.force_login(make_user(*EVERY, is_staff=False))
    assert call(client, method, path, body, rows).status_code == 403


@endpoints
def test_staff_without_the_permission_are_403(rows, make_user, method, path, body, permission, allowed):
    client = APIClient()
    client.force_login(make_user(*EVERY - {permission}))
    assert call(client, method, path, body, rows).status_code == 403


@endpoints
@slashes
def test_staff_with_the_permission_are_served(rows, make_user, method, path, body, permission, allowed, slash):
    client = APIClient()
    client.force_login(make_user(permission))
    assert call(client, method, path, body, rows, slash).status_code == allowed


@endpoints
@slashes
def test_the_management_token_is_served(rows, api, method, path, body, permission, allowed, slash):
    assert call(api, method, path, body, rows, slash).status_code == allowed


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
