"""F30: sign up, sign in, and keys of one's own, on a running server."""

from __future__ import annotations

import base64
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jwt
import pytest

from tests.kit import plain
from tests.kit.databases import query
from tests.kit.requests import ask, error_of, refused, send_json
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import in_force

pytestmark = pytest.mark.server(SIGNUP_ENABLED=True, JWT_EXPIRY_SECONDS=600)

PASSWORD = "correct horse"


def post(server: Sluice, path: str, body: Any = None, token: str = "", method: str = "POST") -> httpx.Response:
    return send_json(server, method, path, body, token)


def new_email() -> str:
    return f"ann-{secrets.token_hex(4)}@example.org"


def signed_up(server: Sluice, email: str) -> dict[str, Any]:
    answer = post(server, "/v1/auth/signup", {"email": email, "password": PASSWORD})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return dict(answer.json())


def signed_in(server: Sluice, email: str, password: str = PASSWORD) -> str:
    answer = post(server, "/v1/auth/login", {"email": email, "password": password})
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.json()["expires_in"] == 600
    return str(answer.json()["token"])


def test_who_signs_up_gets_a_key_that_works_at_once(sluice: Sluice, upstream: Upstream):
    told = signed_up(sluice, new_email())
    assert set(told) == {"user_id", "api_key"}
    assert told["user_id"].startswith("usr_")
    assert ask(sluice, told["api_key"]).status_code == 200


def test_a_user_makes_lists_and_revokes_keys(sluice: Sluice, upstream: Upstream):
    email = new_email()
    signed_up(sluice, email)
    token = signed_in(sluice, email)
    answer = post(sluice, "/v1/keys", {}, token)
    assert (answer.status_code, set(answer.json())) == (201, {"api_key", "prefix"})
    assert answer.headers["cache-control"] == "no-store"
    key, prefix = answer.json()["api_key"], answer.json()["prefix"]
    assert key.startswith(prefix)
    assert ask(sluice, key).status_code == 200
    listed = plain.get(sluice.url + "/api/keys", headers={"authorization": f"Bearer {token}"})
    assert len(listed.json()["results"]) == 2
    revoked = post(sluice, f"/v1/keys/{prefix}", token=token, method="DELETE")
    assert (revoked.status_code, revoked.json()) == (200, {"revoked": True})
    in_force(lambda: ask(sluice, key).status_code == 401)
    refused(ask(sluice, key), 401, "key_revoked")


def test_a_key_is_made_without_a_body_too(sluice: Sluice, upstream: Upstream):
    email = new_email()
    signed_up(sluice, email)
    assert post(sluice, "/v1/keys", None, signed_in(sluice, email)).status_code == 201


def test_another_users_key_is_not_there(sluice: Sluice, upstream: Upstream):
    ann, bob = new_email(), new_email()
    signed_up(sluice, ann)
    signed_up(sluice, bob)
    prefix = post(sluice, "/v1/keys", {}, signed_in(sluice, ann)).json()["prefix"]
    refused(post(sluice, f"/v1/keys/{prefix}", token=signed_in(sluice, bob), method="DELETE"), 404, "not_found")


def test_a_second_sign_up_of_an_address_is_400_in_any_case_of_it(sluice: Sluice, upstream: Upstream):
    email = new_email()
    signed_up(sluice, email)
    for again in (email, email.upper()):
        error = refused(post(sluice, "/v1/auth/signup", {"email": again, "password": PASSWORD}), 400, "email_taken")
        assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body,param",
    [
        ({"email": "a@example.org", "password": "1234567"}, "password"),
        ({"email": "a@example.org", "password": "x" * 1025}, "password"),
        ({"email": "no address", "password": PASSWORD}, "email"),
        ({"password": PASSWORD}, "email"),
        ({"email": "a@example.org"}, "password"),
        ({"email": ["a@example.org"], "password": PASSWORD}, "email"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_does_not_fit_is_400_and_named(sluice: Sluice, upstream: Upstream, body: Any, param: str):
    error = refused(post(sluice, "/v1/auth/signup", body), 400, "invalid_value")
    assert error["param"] == param


@pytest.mark.parametrize("raw", [b"{", b"[]", b"\xff", b'"x"', b""])
def test_what_is_no_object_is_400_in_openais_shape(sluice: Sluice, upstream: Upstream, raw: bytes):
    for path in ("/v1/auth/signup", "/v1/auth/login"):
        headers = {"content-type": "application/json"}
        answer = plain.post(sluice.url + path, content=raw, headers=headers)
        assert answer.status_code == 400
        error_of(answer)


def test_a_wrong_password_and_an_unknown_address_are_told_the_same(sluice: Sluice, upstream: Upstream):
    email = new_email()
    signed_up(sluice, email)
    answers = [
        post(sluice, "/v1/auth/login", {"email": address, "password": password})
        for address, password in ((email, "wrong password"), (new_email(), PASSWORD))
    ]
    refused(answers[0], 401, "invalid_credentials")
    assert answers[0].content == answers[1].content


def test_one_account_is_not_tried_without_end(sluice: Sluice, upstream: Upstream):
    email = new_email()
    answers = [post(sluice, "/v1/auth/login", {"email": email, "password": "x"}) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    refused(answers[-1], 429, "throttled")
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60


def test_one_account_is_tried_as_often_by_all_workers_together(start_sluice: StartSluice):
    server = start_sluice(redis=True, workers=3)
    email = new_email()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: post(server, "/v1/auth/login", {"email": email, "password": "x"}), range(24)))
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 14
    assert all(0 < int(answer.headers["retry-after"]) <= 60 for answer in answers if answer.status_code == 429)


@pytest.mark.parametrize("how", ["stop", "freeze"])
def test_tries_are_counted_while_redis_is_away(start_sluice: StartSluice, how: str):
    server = start_sluice(redis=True)
    email = new_email()

    def tried(times: int) -> list[int]:
        return [post(server, "/v1/auth/login", {"email": email, "password": "x"}).status_code for _ in range(times)]

    assert tried(4) == [401] * 4
    assert server.redis is not None
    getattr(server.redis, how)()
    assert tried(8) == [401] * 6 + [429] * 2
    server.redis.thaw() if how == "freeze" else server.redis.start()


def forged(token: str, **claims: Any) -> list[str]:
    """Tokens that nobody was given: unsigned, signed with another key, or with what can be guessed."""
    payload = {**jwt.decode(token, options={"verify_signature": False}), **claims}
    unsigned = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "none", "typ": "JWT"}, payload)
    )
    return [
        unsigned + ".",
        jwt.encode(payload, "another key, as long as it has to be", algorithm="HS256"),
        jwt.encode(payload, "tests-secret-key-of-more-than-fifty-characters-0123456789", algorithm="HS256"),
        jwt.encode(payload, "x" * 64, algorithm="HS512"),
        token[:-2] + ("AA" if token[-2:] != "AA" else "BB"),
        "a.b.c",
    ]


def test_a_token_that_was_not_given_is_401(sluice: Sluice, upstream: Upstream):
    email = new_email()
    signed_up(sluice, email)
    for wrong in ["", "nonsense", *forged(signed_in(sluice, email))]:
        answer = post(sluice, "/v1/keys", {}, wrong)
        assert answer.status_code == 401, wrong
        assert error_of(answer)["type"] == "authentication_error"


def test_neither_a_virtual_key_nor_the_management_token_makes_keys(sluice: Sluice, upstream: Upstream):
    for wrong in (signed_up(sluice, new_email())["api_key"], "tests-management-token"):
        assert post(sluice, "/v1/keys", {}, wrong).status_code == 401


def test_a_deactivated_user_is_out_everywhere(sluice: Sluice, upstream: Upstream):
    email = new_email()
    told = signed_up(sluice, email)
    token = signed_in(sluice, email)
    assert ask(sluice, told["api_key"]).status_code == 200
    sluice.api("PATCH", f"/api/users/{told['user_id']}", json={"is_active": False})
    assert post(sluice, "/v1/keys", {}, token).status_code == 401
    refused(post(sluice, "/v1/auth/login", {"email": email, "password": PASSWORD}), 401, "invalid_credentials")
    in_force(lambda: ask(sluice, told["api_key"]).status_code == 401)
    refused(ask(sluice, told["api_key"]), 401, "key_inactive")


def test_nothing_of_it_reaches_the_provider(sluice: Sluice, upstream: Upstream):
    for path in ("/v1/auth/login", "/v1/auth/", "/v1/auth/other", "/v1/keys", "/v1/keys/", "/v1/keys/a/b"):
        for method in ("POST", "GET", "DELETE", "PUT"):
            answer = post(sluice, path, {"email": "a", "password": "canary"}, method=method)
            assert 400 <= answer.status_code < 500
            error_of(answer)
    assert upstream.requests == []


def test_passwords_are_kept_as_bcrypt_hashes(sluice: Sluice, upstream: Upstream):
    signed_up(sluice, new_email())
    hashes = {row["password"] for row in query(sluice.database_url, "SELECT password FROM auth_user")}
    assert all(stored.startswith("bcrypt_sha256$$2b$12$") for stored in hashes)


def test_sign_up_is_closed_where_nobody_opened_it(start_sluice: StartSluice, upstream: Upstream):
    server = start_sluice()
    refused(post(server, "/v1/auth/signup", {"email": "a@example.org", "password": PASSWORD}), 403, "signup_disabled")
    assert query(server.database_url, "SELECT id FROM auth_user") == []


def test_the_proxy_surface_has_none_of_it_and_passes_none_of_it_on(start_sluice: StartSluice, upstream: Upstream):
    server = start_sluice(surface="proxy", REQUIRE_API_KEY=False, SIGNUP_ENABLED=True)
    for path in ("/v1/auth/signup", "/v1/auth/login", "/v1/keys", "/v1/keys/sk-sluice-x"):
        refused(post(server, path, {"email": "a@example.org", "password": PASSWORD}), 404, "not_found")
    assert upstream.requests == []


def test_the_admin_surface_has_it(start_sluice: StartSluice, upstream: Upstream):
    server = start_sluice(surface="admin", SIGNUP_ENABLED=True)
    email = new_email()
    signed_up(server, email)
    token = post(server, "/v1/auth/login", {"email": email, "password": PASSWORD}).json()["token"]
    assert post(server, "/v1/keys", {}, token).status_code == 201
