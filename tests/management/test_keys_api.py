from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keys.models import Project, VirtualKey
from keys.tokens import read_token, secret_matches
from tests.kit.rows import LIMITS, make_credential, make_key, make_project

FIELDS = {
    *("id", "name", "project", "project_name", "owner", "status", "mask", "is_active", "expires_at", "revoked_at"),
    *("allowed_models", "rpm", "upstream_alias", "metadata", "tags", "notes", "created_at", "updated_at"),
    *("last_used_at", "total_requests", "team", "team_name", "previous_until"),
    *LIMITS,
}


def test_minting_answers_201_with_the_key_and_its_token(api, make_user):
    project = make_project("team")
    make_credential("second")
    body = {
        "name": "ci",
        "project": "team",
        "owner": make_user().pk,
        "expires_at": "2030-01-01T00:00:00Z",
        "allowed_models": ["gpt-4.1-*"],
        "rpm": 60,
        "upstream_alias": "second",
        "metadata": {"cost": {"centre": 7}},
        "tags": ["a", "b"],
        "notes": "for the pipeline",
        "is_active": False,
    }
    answer = api.post("/api/keys", body)
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    told = answer.json()
    assert set(told) == {*FIELDS, "key"}
    assert {name: told[name] for name in body} == {**body, "project": project.pk}
    assert (told["project_name"], told["status"], told["total_requests"]) == ("team", "inactive", 0)
    key = VirtualKey.objects.get(pk=told["id"])
    token = read_token(told["key"], "sk-sluice-")
    assert token.public_id == key.public_id
    assert secret_matches(token.secret, bytes(key.salt), bytes(key.secret_hash))


def test_a_key_without_a_project_goes_to_the_default_one(api):
    assert api.post("/api/keys", {"name": "k"}).json()["project_name"] == "default"


def test_a_project_is_taken_by_its_id_too(api):
    project = make_project("team")
    assert api.post("/api/keys", {"name": "k", "project": project.pk}).json()["project"] == project.pk
    assert api.post("/api/keys", {"name": "l", "project": str(project.pk)}).json()["project"] == project.pk


def test_a_project_that_is_named_like_a_number_is_found_by_its_name_first(api):
    first = make_project("first")
    numeric = make_project(str(first.pk))
    assert api.post("/api/keys", {"name": "k", "project": str(first.pk)}).json()["project"] == numeric.pk


def test_minting_a_duplicate_name_is_409(api):
    make_key("ci")
    answer = api.post("/api/keys", {"name": "ci"})
    assert answer.status_code == 409
    assert answer.json()["code"] == "duplicate_name"


def test_the_same_name_in_another_project_is_fine(api):
    make_key("ci")
    make_project("other")
    assert api.post("/api/keys", {"name": "ci", "project": "other"}).status_code == 201


def test_the_name_of_a_deleted_key_is_free_again(api):
    """X22: its row keeps its id."""
    gone = make_key("ci")
    assert api.delete(f"/api/keys/{gone.pk}").status_code == 204
    made = api.post("/api/keys", {"name": "ci"})
    assert made.status_code == 201
    assert made.json()["id"] != gone.pk
    assert api.get(f"/api/keys/{gone.pk}").json()["status"] == "revoked"
    assert api.post("/api/keys", {"name": "ci"}).status_code == 409
    assert api.delete(f"/api/keys/{made.json()['id']}").status_code == 204
    assert api.post("/api/keys", {"name": "ci"}).status_code == 201


def test_minting_in_an_inactive_project_is_403(api):
    make_project("closed", is_active=False)
    answer = api.post("/api/keys", {"name": "k", "project": "closed"})
    assert answer.status_code == 403
    assert answer.json()["code"] == "project_inactive"
    assert not VirtualKey.objects.exists()


def test_a_refused_key_leaves_no_default_project_behind(api):
    assert api.post("/api/keys", {"name": "k", "rpm": 0}).status_code == 400
    assert not Project.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": None},
        {"name": ["x"]},
        {"name": {}},
        {"name": "x" * 101},
        {"project": "nowhere"},
        {"project": 10**30},
        {"project": "9" * 30},
        {"project": "²"},
        {"project": True},
        {"project": None},
        {"project": [1]},
        {"owner": 99999},
        {"owner": "nobody"},
        {"owner": 10**30},
        {"expires_at": "soon"},
        {"expires_at": 5},
        {"expires_at": "0001-01-01T00:00:00+14:00"},
        {"expires_at": "9999-12-31T23:59:59-14:00"},
        {"allowed_models": "gpt"},
        {"allowed_models": [1]},
        {"allowed_models": [""]},
        {"allowed_models": {}},
        {"allowed_models": None},
        {"rpm": 0},
        {"rpm": -1},
        {"rpm": 1.5},
        {"rpm": "many"},
        {"rpm": 10**30},
        {"rpm": True},
        {"upstream_alias": "No Such"},
        {"upstream_alias": "x" * 65},
        {"metadata": []},
        {"metadata": None},
        {"metadata": "x"},
        {"tags": ["a", 1]},
        {"tags": "a"},
        {"notes": None},
        {"notes": "nul\0"},
        {"tags": ["nul\0"]},
        {"metadata": {"nul\0": 1}},
        {"is_active": "perhaps"},
        {"is_active": 7},
    ],
    ids=str,
)
def test_a_field_that_does_not_fit_is_400_and_named(api, wrong):
    answer = api.post("/api/keys", {"name": "k", **wrong})
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) <= set(wrong)


def test_defaults_for_new_keys_come_from_the_settings(api, settings):
    settings.KEY_DEFAULT_RPM, settings.KEY_DEFAULT_EXPIRES_DAYS = 7, 3
    told = api.post("/api/keys", {"name": "k"}).json()
    assert told["rpm"] == 7
    assert datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC) < timedelta(days=3)


def test_a_key_is_read_without_its_token(api):
    answer = api.get(f"/api/keys/{make_key().pk}").json()
    assert set(answer) == FIELDS


@pytest.mark.parametrize("method", ["put", "patch"])
def test_a_key_is_updated(api, method):
    key = make_key()
    answer = getattr(api, method)(f"/api/keys/{key.pk}", {"name": "new", "rpm": 5, "tags": ["t"], "is_active": False})
    assert answer.status_code == 200
    key.refresh_from_db()
    assert (key.name, key.rpm, key.tags, key.status) == ("new", 5, ["t"], "inactive")


def test_renaming_to_a_taken_name_is_409(api):
    make_key("a")
    answer = api.patch(f"/api/keys/{make_key('b').pk}", {"name": "a"})
    assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_name")


def test_what_a_caller_may_not_set_is_refused(api):
    key = make_key()
    body = {"revoked_at": "2020-01-01T00:00:00Z", "total_requests": 9, "status": "revoked", "id": 99}
    for name, value in body.items():
        answer = api.patch(f"/api/keys/{key.pk}", {name: value})
        assert (answer.status_code, set(answer.json()["errors"])) == (400, {name})
    after = VirtualKey.objects.get(pk=key.pk)
    assert (after.revoked_at, after.total_requests, after.public_id) == (None, 0, key.public_id)


def test_an_update_leaves_a_revocation_that_came_meanwhile(db):
    mine, theirs = make_key(), VirtualKey.objects.get()
    theirs.revoke()
    mine.change(notes="written from what was read before")
    assert VirtualKey.objects.get().status == "revoked"


def test_deleting_revokes_and_keeps_the_row(api):
    key = make_key()
    assert api.delete(f"/api/keys/{key.pk}").status_code == 204
    assert api.get(f"/api/keys/{key.pk}").json()["status"] == "revoked"
    assert api.delete(f"/api/keys/{key.pk}").status_code == 204


def test_revoking_twice_keeps_the_first_time(api):
    key = make_key()
    first = api.post(f"/api/keys/{key.pk}/revoke").json()
    second = api.post(f"/api/keys/{key.pk}/revoke/").json()
    assert first["status"] == "revoked"
    assert first["revoked_at"] == second["revoked_at"]


@pytest.mark.parametrize("body", [{"is_active": True}, {"notes": "x"}, {"expires_at": None}])
def test_a_revoked_key_cannot_be_changed(api, body):
    key = make_key()
    key.revoke()
    answer = api.patch(f"/api/keys/{key.pk}", body)
    assert (answer.status_code, answer.json()["code"]) == (409, "key_revoked")
    assert VirtualKey.objects.get().status == "revoked"


def test_a_revoked_key_cannot_be_rotated(api):
    key = make_key()
    key.revoke()
    answer = api.post(f"/api/keys/{key.pk}/rotate")
    assert (answer.status_code, answer.json()["code"]) == (409, "key_revoked")
    assert VirtualKey.objects.get().public_id == key.public_id


def test_rotating_gives_a_new_token_to_the_same_key(api):
    key = make_key(rpm=3)
    answer = api.post(f"/api/keys/{key.pk}/rotate")
    told = answer.json()
    assert (answer.status_code, told["id"], told["rpm"]) == (200, key.pk, 3)
    assert answer["Cache-Control"] == "no-store"
    assert read_token(told["key"], "sk-sluice-").public_id == VirtualKey.objects.get().public_id != key.public_id


def test_all_keys_of_a_project_are_revoked_at_once(api):
    project = make_project("leaving")
    for name in "abc":
        make_key(name, project=project)
    make_key("stays")
    VirtualKey.objects.get(name="a").revoke()
    assert api.post("/api/keys/revoke", {"project": "leaving"}).json() == {"revoked": 2}
    assert [key.name for key in VirtualKey.objects.filter(revoked_at=None)] == ["stays"]


@pytest.mark.parametrize("body", [{}, {"project": "nowhere"}, [], {"project": None}])
def test_revoking_in_bulk_needs_a_project_that_exists(api, body):
    make_key()
    assert api.post("/api/keys/revoke", body).status_code == 400
    assert VirtualKey.objects.get().status == "active"


@pytest.mark.parametrize("path", ["/api/keys/999", "/api/keys/abc", f"/api/keys/{10**30}", "/api/keys/%00", "/api/nil"])
def test_what_is_not_there_is_404_in_json(api, path):
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
