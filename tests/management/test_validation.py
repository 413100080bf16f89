"""F29, F33, F43: would this key be taken, would this caller, and which configuration is this."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from keys.models import VirtualKey
from keys.tokens import new_token, read_token, write_token
from keys.user_tokens import issue_token
from proxy.configuration.changes import current_version
from proxy.configuration.changes_feed import read_changes
from tests.kit.rows import TOKEN, make_project


def mint(name="k", **fields):
    return VirtualKey.objects.mint(name=name, **fields)


def validate(api, key):
    answer = api.post("/api/keys/validate", {"key": key})
    assert answer.status_code == 200
    assert set(answer.json()) == {"valid", "key_id", "error", "key", "rate_limits"}
    return answer.json()


def test_a_good_key_is_valid_and_summed_up_without_its_secret(api):
    key, token = mint(rpm=5, budget=2, project=make_project("team"))
    told = validate(api, token)
    assert (told["valid"], told["key_id"], told["error"]) == (True, key.pk, None)
    assert (told["key"]["name"], told["key"]["project_name"], told["key"]["mask"]) == ("k", "team", key.mask)
    assert (told["rate_limits"]["rpm"], told["rate_limits"]["budget"], told["rate_limits"]["tpm"]) == (
        5,
        "2.000000",
        None,
    )
    assert read_token(token, "sk-sluice-").secret not in str(told)


@pytest.mark.parametrize(
    "fields,code",
    [
        ({"is_active": False}, "key_inactive"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "key_expired"),
        ({"is_active": False, "expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "key_inactive"),
        ({"revoked_at": datetime(2020, 1, 1, tzinfo=UTC)}, "key_revoked"),
    ],
)
def test_a_key_that_is_refused_says_why(api, fields, code):
    key, token = mint(**fields)
    told = validate(api, token)
    assert (told["valid"], told["error"], told["key_id"]) == (False, code, key.pk)
    assert f"key_{told['key']['status']}" == code


def test_a_key_of_an_inactive_project_or_owner_is_refused(api, make_user):
    owner, project = make_user(), make_project()
    _, token = mint(project=project)
    project.change(is_active=False)
    assert validate(api, token)["error"] == "project_inactive"
    _, token = mint(owner=owner)
    assert validate(api, token)["valid"]
    owner.is_active = False
    owner.save()
    assert validate(api, token)["error"] == "key_inactive"


@pytest.mark.parametrize("wrong", ["nonsense", "sk-sluice-", 5, [], {}, True, "\u2603" * 62, "x" * 10_000], ids=repr)
def test_what_is_no_key_is_invalid(api, wrong):
    told = validate(api, wrong)
    assert told == {"valid": False, "key_id": None, "error": "invalid_api_key", "key": None, "rate_limits": None}


@pytest.mark.parametrize("body", [{}, {"key": None}, {"key": ""}])
def test_no_key_is_a_missing_one(api, body):
    assert api.post("/api/keys/validate", body).json()["error"] == "missing_api_key"


@pytest.mark.parametrize(
    "body,content_type,code",
    [
        ("", "application/json", "missing_api_key"),
        ("{", "application/json", "invalid_json"),
        ("\xff", "application/json", "invalid_json"),
        ("[" * 100_000, "application/json", "invalid_json"),
        ("[]", "application/json", "invalid_json"),
        ('"sk-sluice-x"', "application/json", "invalid_json"),
        ("null", "application/json", "invalid_json"),
        ("key=sk-sluice-x", "application/x-www-form-urlencoded", "unsupported_media_type"),
        ("sk-sluice-x", "text/plain", "unsupported_media_type"),
    ],
    ids=lambda value: value[:20],
)
def test_a_question_that_is_none_is_answered_all_the_same(api, body, content_type, code):
    answer = api.post("/api/keys/validate", body.encode("latin-1"), content_type=content_type)
    assert answer.status_code == 200
    assert answer.json() == {"valid": False, "key_id": None, "error": code, "key": None, "rate_limits": None}


def test_who_is_not_known_is_told_nothing_whatever_is_asked(db):
    for body in (b"{", b"[]", b'{"key": "x"}'):
        answer = APIClient().post("/api/keys/validate", body, content_type="application/json")
        assert answer.status_code == 401


def test_a_wrong_secret_tells_nothing_of_the_key(api):
    _, token = mint()
    forged = write_token(read_token(token, "sk-sluice-")._replace(secret=new_token().secret), "sk-sluice-")
    told = validate(api, forged)
    assert (told["error"], told["key_id"], told["key"]) == ("invalid_api_key", None, None)


def test_during_a_grace_both_tokens_are_valid_and_after_it_the_new_one(api):
    key, old = mint()
    new = api.post(f"/api/keys/{key.pk}/rotate", {"grace_seconds": 60}).json()
    assert new["previous_until"] is not None
    assert validate(api, old)["valid"]
    assert validate(api, new["key"])["valid"]
    VirtualKey.objects.update(previous_until=timezone.now() - timedelta(seconds=1))
    assert validate(api, old)["error"] == "invalid_api_key"
    assert validate(api, new["key"])["valid"]


def test_a_second_rotation_ends_the_grace_of_the_first(api):
    key, first = mint()
    second = api.post(f"/api/keys/{key.pk}/rotate", {"grace_seconds": 60}).json()["key"]
    third = api.post(f"/api/keys/{key.pk}/rotate", {"grace_seconds": 60}).json()["key"]
    assert [validate(api, token)["valid"] for token in (first, second, third)] == [False, True, True]
    last = api.post(f"/api/keys/{key.pk}/rotate").json()
    assert last["previous_until"] is None
    assert [validate(api, token)["valid"] for token in (second, third, last["key"])] == [False, False, True]


def test_a_revocation_ends_both_tokens(api):
    key, old = mint()
    new = api.post(f"/api/keys/{key.pk}/rotate", {"grace_seconds": 60}).json()["key"]
    api.post(f"/api/keys/{key.pk}/revoke")
    assert [validate(api, token)["error"] for token in (old, new)] == ["key_revoked"] * 2


@pytest.mark.parametrize("grace", [-1, 30 * 86_400 + 1, "x", None, 1.5, 10**30], ids=str)
def test_a_grace_that_does_not_fit_is_400_and_rotates_nothing(api, grace):
    key, _ = mint()
    assert api.post(f"/api/keys/{key.pk}/rotate", {"grace_seconds": grace}).status_code == 400
    assert VirtualKey.objects.get().public_id == key.public_id


def test_the_caller_is_told_whether_the_credentials_are_right(db, make_user, api):
    def told(**headers):
        answer = APIClient().post("/api/auth/validate", **headers)
        assert answer.status_code == 200
        assert set(answer.json()) == {"valid", "message"}
        return answer.json()["valid"]

    token = issue_token(make_user(), timezone.now())
    assert told(HTTP_AUTHORIZATION=f"Bearer {TOKEN}")
    assert told(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert not told()
    assert not told(HTTP_AUTHORIZATION="Bearer wrong")
    assert not told(HTTP_AUTHORIZATION=f"Bearer {token}x")


def test_the_version_grows_with_every_change_and_a_reload_reaches_every_process(api):
    first = api.get("/api/config/version").json()
    assert set(first) == {"version", "counts"}
    mint()
    second = api.get("/api/config/version").json()
    assert second["version"] > first["version"]
    assert (second["counts"]["keys"], second["counts"]["projects"]) == (1, 1)
    reloaded = api.post("/api/config/reload").json()
    assert reloaded["version"] == current_version() > second["version"]
    changes = read_changes(second["version"])
    assert changes is not None
    assert changes.all_keys
