"""F45: every management action is in the audit log: who, what, to whom, with which result, and no secret."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from rest_framework.test import APIClient

from keys.models import VirtualKey
from tests.kit.html_forms import fields_of
from tests.kit.rows import SECRET, TOKEN, make_credential, make_key, make_project, make_provider
from usage.audit import changes
from usage.models import AuditEntry


def last() -> AuditEntry:
    entry = AuditEntry.objects.first()
    assert entry is not None
    return entry


def summary_of(entry: AuditEntry) -> tuple[Any, ...]:
    return entry.action, entry.target_kind, entry.target, entry.result, entry.status_code


def since(pk: int) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(pk__gt=pk).order_by("pk"))


def test_a_change_through_the_api_tells_who_what_and_from_where(api):
    answer = api.post("/api/projects", {"name": "team"}, REMOTE_ADDR="192.0.2.7")
    entry = last()
    assert summary_of(entry) == ("create", "project", "team", "ok", 201)
    assert (entry.actor_kind, entry.actor, entry.ip) == ("token", "operator", "192.0.2.7")
    assert (entry.target_id, entry.request_id) == (str(answer.json()["id"]), answer["X-Request-ID"])
    api.patch(f"/api/projects/{answer.json()['id']}", {"is_active": False, "name": "team"})
    assert summary_of(last()) == ("update", "project", "team", "ok", 200)
    assert last().changes == {"is_active": [True, False]}
    api.delete(f"/api/projects/{answer.json()['id']}")
    assert summary_of(last()) == ("delete", "project", "team", "ok", 204)


def test_a_user_is_named(make_user):
    client = APIClient()
    client.force_login(make_user("keys.add_project", name="ann"))
    client.post("/api/projects", {"name": "team"})
    assert (last().actor_kind, last().actor, last().action) == ("user", "ann", "create")


def test_a_key_is_told_by_name_and_mask_and_its_secret_never(api):
    minted = api.post("/api/keys", {"name": "ci"}).json()
    assert summary_of(last()) == ("create", "key", f"ci ({minted['mask']})", "ok", 201)
    rotated = api.post(f"/api/keys/{minted['id']}/rotate").json()
    assert summary_of(last())[:2] == ("rotate", "key")
    api.post(f"/api/keys/{minted['id']}/revoke")
    assert summary_of(last()) == ("revoke", "key", f"ci ({rotated['mask']})", "ok", 200)
    row = VirtualKey.objects.get()
    text = json.dumps(list(AuditEntry.objects.values()), default=str)
    for secret in (minted["key"], rotated["key"], row.public_id, bytes(row.secret_hash).hex(), bytes(row.salt).hex()):
        assert secret not in text


def test_a_credential_and_a_providers_options_are_masked(api):
    made = api.post("/api/credentials", {"alias": "a", "secret": SECRET}).json()
    api.patch(f"/api/credentials/{made['id']}", {"secret": SECRET + "-new"})
    assert last().changes == {"encrypted": [changes.MASK, changes.MASK]}
    provider = make_provider()
    api.patch(f"/api/providers/{provider.pk}", {"options": {"headers": {"X-Secret": SECRET}}})
    assert last().changes == {"options": [changes.MASK, changes.MASK]}
    assert SECRET not in json.dumps(list(AuditEntry.objects.values()), default=str)


def test_each_key_of_a_bulk_revocation_has_its_entry(api, monkeypatch):
    project = make_project()
    for name in "abc":
        make_key(name, project=project)
    before = last().pk
    api.post("/api/keys/revoke", {"project": project.pk})
    assert [entry.action for entry in since(before)] == ["revoke"] * 3
    for name in "def":
        make_key(name, project=project)
    before = last().pk
    monkeypatch.setattr(changes, "ONE_BY_ONE", 2)
    api.post("/api/keys/revoke", {"project": project.pk})
    assert [(entry.action, entry.changes) for entry in since(before)] == [("revoke", {"rows": 3})]


def test_an_action_that_changes_nothing_is_told_all_the_same(api):
    key = make_key()
    key.revoke()
    api.post(f"/api/keys/{key.pk}/revoke")
    assert (last().action, last().target_kind, last().target_id) == ("revoke", "key", str(key.pk))


@pytest.mark.parametrize(
    "method,path,body,status,action,kind",
    [
        ("post", "/api/projects", {"name": ""}, 400, "create", "project"),
        ("post", "/api/keys", {"name": "x", "project": "nobody"}, 400, "create", "key"),
        ("patch", "/api/providers/999", {}, 404, "update", "provider"),
        ("delete", "/api/keys/999", None, 404, "delete", "key"),
        ("post", "/api/keys/999/rotate", None, 404, "rotate", "key"),
    ],
)
def test_a_refused_change_is_told_although_it_was_rolled_back(api, method, path, body, status, action, kind):
    assert getattr(api, method)(path, body).status_code == status
    assert (last().action, last().target_kind, last().result, last().status_code) == (action, kind, "refused", status)


def test_a_caller_who_is_nobody_and_one_who_may_not_are_told(db, make_user):
    APIClient().get("/api/keys")
    assert (last().actor_kind, last().action, last().status_code) == ("anonymous", "view", 401)
    APIClient().get("/api/keys", HTTP_AUTHORIZATION="Bearer wrong-token-canary")
    assert last().code == "authentication_failed"
    client = APIClient()
    client.force_login(make_user(name="bob"))
    client.get("/api/audit")
    assert (last().actor, last().action, last().status_code) == ("bob", "view", 403)
    assert "wrong-token-canary" not in json.dumps(list(AuditEntry.objects.values()), default=str)


def test_reading_leaves_no_entry(api):
    make_key()
    before = last().pk
    for path in ("/api/keys", "/api/audit", "/api/schema"):
        assert api.get(path).status_code == 200
    assert since(before) == []


def test_the_admin_is_told_like_the_api(admin: Client):
    admin.post(
        "/admin/keys/project/add/", {"name": "by-admin", "is_active": "on", "period": "total", "soft_threshold": "0.8"}
    )
    assert (*summary_of(last())[:4], last().actor) == ("create", "project", "by-admin", "ok", "root")
    key = make_key()
    asked = admin.post("/admin/keys/virtualkey/", {"action": "revoke_selected", "_selected_action": [key.pk]})
    admin.post("/admin/keys/virtualkey/", fields_of(asked, "ask_form"))
    assert (last().action, last().target_id, last().actor) == ("revoke", str(key.pk), "root")
    credential = make_credential()
    admin.post(f"/admin/providers/credential/{credential.pk}/delete/", {"post": "yes"})
    assert summary_of(last())[:3] == ("delete", "credential", "default")


def test_logins_and_their_failures_are_told_without_what_was_typed(make_user):
    make_user(name="ann")
    client = Client()
    client.post("/admin/login/", {"username": "ann", "password": "pw"})
    assert (last().action, last().target, last().result, last().actor) == ("login", "ann", "ok", "ann")
    client = Client()
    client.post("/admin/login/", {"username": "ann", "password": "typed-canary-1"})
    assert (last().action, last().target, last().result) == ("login", "ann", "refused")
    client.post("/admin/login/", {"username": "typed-canary-2", "password": "x"})
    assert (last().target, last().code) == ("", "login_failed")
    assert "typed-canary" not in json.dumps(list(AuditEntry.objects.values()), default=str)


def test_a_users_password_and_permissions_are_told_and_masked(make_user):
    user = make_user("keys.view_project", name="ann")
    assert last().changes == {"permission": {"add": [user.user_permissions.get().pk]}}
    user.set_password("new")
    user.save()
    assert (last().target_kind, last().changes) == ("user", {"password": [changes.MASK, changes.MASK]})


def test_what_no_request_does_is_the_systems(db):
    make_project("by-nobody")
    assert (last().actor_kind, last().target) == ("system", "by-nobody")


def test_a_local_command_is_told_as_one(transactional_db):
    call_command("projects", "create", "--name", "by-hand", stdout=StringIO())
    assert (*summary_of(last()), last().actor_kind) == ("create", "project", "by-hand", "ok", 201, "cli")
    with pytest.raises(CommandError):
        call_command("projects", "create", "--name", "by-hand", stdout=StringIO())
    assert (last().result, last().status_code, last().code, last().actor_kind) == (
        "refused",
        409,
        "duplicate_name",
        "cli",
    )


def test_a_remote_command_is_told_as_the_management_token(transactional_db, live_server):
    remote = ("--api-url", live_server.url, "--token", TOKEN)
    call_command("projects", "create", "--name", "from-afar", *remote, stdout=StringIO())
    assert (last().actor_kind, last().target, last().ip) == ("token", "from-afar", "127.0.0.1")


def test_a_change_whose_entry_cannot_be_kept_is_not_made(api, monkeypatch):
    from django.db import DatabaseError

    from keys.models import Project

    def full(*args: Any, **options: Any) -> None:
        raise DatabaseError("disk full")

    monkeypatch.setattr("usage.audit.middleware.keep", full)
    with pytest.raises(DatabaseError):
        api.post("/api/projects", {"name": "unseen"})
    assert not Project.objects.filter(name="unseen").exists()


def test_it_can_be_switched_off(api, settings):
    settings.AUDIT_ENABLED = False
    api.post("/api/projects", {"name": "team"})
    assert not AuditEntry.objects.exists()
