"""F30: what users' tokens are good for, until when, and what a sign-in gives away."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.cache import cache
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.test import APIClient

from keys.user_tokens import issue_token, signing_key, user_of


@pytest.fixture(autouse=True)
def _nobody_tried_before():
    cache.clear()


@pytest.fixture
def ann(make_user):
    return make_user(name="ann@example.org", is_staff=False)


def test_a_token_names_its_user_until_it_expires(ann, settings):
    now = timezone.now()
    assert user_of(issue_token(ann, now)) == ann
    settings.JWT_EXPIRY_SECONDS = 60
    assert user_of(issue_token(ann, now - timedelta(seconds=50))) == ann
    with pytest.raises(AuthenticationFailed):
        user_of(issue_token(ann, now - timedelta(seconds=60)))


def test_a_token_from_a_machine_whose_clock_is_ahead_is_taken_at_once(ann):
    assert user_of(issue_token(ann, timezone.now() + timedelta(seconds=3))) == ann
    with pytest.raises(AuthenticationFailed):
        user_of(issue_token(ann, timezone.now() + timedelta(seconds=30)))


def test_a_changed_password_a_deactivation_and_a_deletion_end_it(ann):
    token = issue_token(ann, timezone.now())
    ann.set_password("another one")
    ann.save()
    with pytest.raises(AuthenticationFailed):
        user_of(token)
    token = issue_token(ann, timezone.now())
    ann.is_active = False
    ann.save()
    with pytest.raises(AuthenticationFailed):
        user_of(token)
    ann.is_active = True
    ann.save()
    assert user_of(token) == ann
    ann.delete()
    with pytest.raises(AuthenticationFailed):
        user_of(token)


@pytest.mark.parametrize("missing", ["sub", "iat", "exp", "pwd"])
def test_a_token_without_a_claim_is_refused_though_it_is_signed(ann, missing):
    claims = jwt.decode(issue_token(ann, timezone.now()), signing_key(), algorithms=["HS256"])
    del claims[missing]
    with pytest.raises(AuthenticationFailed):
        user_of(jwt.encode(claims, signing_key(), algorithm="HS256"))


def test_another_algorithm_is_refused_though_it_is_signed(ann):
    claims = jwt.decode(issue_token(ann, timezone.now()), signing_key(), algorithms=["HS256"])
    with pytest.raises(AuthenticationFailed):
        user_of(jwt.encode(claims, signing_key() * 2, algorithm="HS512"))


def test_the_management_token_may_look_like_a_users(db, settings):
    settings.MANAGEMENT_TOKEN = "a.b.c"
    assert APIClient().get("/api/keys", HTTP_AUTHORIZATION="Bearer a.b.c").status_code == 200
    assert APIClient().get("/api/keys", HTTP_AUTHORIZATION="Bearer a.b.d").status_code == 401


def login(email, password="pw", **headers):
    return APIClient().post("/v1/auth/login", {"email": email, "password": password}, headers=headers)


def test_a_sign_in_hashes_once_whoever_tries(ann, make_user, monkeypatch):
    """So that the time it takes does not tell whether the address is known."""
    make_user(name="gone@example.org", is_active=False)
    hashed = []
    encode = MD5PasswordHasher.encode

    def counted(*args):
        hashed.append(args)
        return encode(*args)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    counts = set()
    for email, status in (("ann@example.org", 401), ("nobody@example.org", 401), ("gone@example.org", 401)):
        hashed.clear()
        assert login(email, "wrong").status_code == status
        counts.add(len(hashed))
    assert counts == {1}


def test_what_a_client_writes_into_a_header_gets_it_no_more_tries(ann):
    for number in range(61):
        answer = login(f"u{number}@example.org", **{"X-Forwarded-For": f"10.0.0.{number}"})
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 0


def test_an_address_is_known_in_any_case(ann):
    assert login("ANN@Example.org").status_code == 200
