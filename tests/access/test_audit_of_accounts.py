"""F45: what users do with their accounts under /v1/, and what they are refused there, is told as of /api/."""

from __future__ import annotations

import json
import secrets
from typing import Any

import httpx
import pytest

from tests.kit.databases import EACH_DATABASE
from tests.kit.requests import send_json
from tests.kit.sluice import Sluice, StartSluice

pytestmark = pytest.mark.server(each=EACH_DATABASE, SIGNUP_ENABLED=True)

PASSWORD = "password-canary-71fe"


def entries(server: Sluice, answer: httpx.Response) -> list[dict[str, Any]]:
    """What was told of the request, oldest first."""
    query = f"request_id={answer.headers['x-request-id']}"
    rows: list[dict[str, Any]] = server.api("GET", f"/api/audit?{query}").json()["results"]
    assert all(row["ip"] == "127.0.0.1" for row in rows)
    assert all(row["status_code"] == answer.status_code for row in rows)
    return rows[::-1]


def entry_of(server: Sluice, answer: httpx.Response) -> dict[str, Any]:
    (entry,) = entries(server, answer)
    return entry


def who(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["actor_kind"], entry["actor"]


def what(entry: dict[str, Any]) -> tuple[str, str, str, str, str]:
    return entry["action"], entry["target_kind"], entry["target"], entry["result"], entry["code"]


class Ann:
    """Somebody with an account."""

    def __init__(self, server: Sluice) -> None:
        self.server = server
        self.email = f"ann-{secrets.token_hex(4)}@example.org"
        self.signed_up = send_json(server, "POST", "/v1/auth/signup", {"email": self.email, "password": PASSWORD})
        assert self.signed_up.status_code == 201, self.signed_up.text

    def login(self, password: str = PASSWORD) -> httpx.Response:
        return send_json(self.server, "POST", "/v1/auth/login", {"email": self.email, "password": password})

    def token(self) -> str:
        return str(self.login().json()["token"])


def test_a_login_is_told_by_its_user(server: Sluice):
    ann = Ann(server)
    entry = entry_of(server, ann.login())
    assert who(entry) == ("user", ann.email)
    assert what(entry) == ("login", "user", ann.email, "ok", "")


def test_each_failed_login_is_told_once_and_names_the_account_that_there_is(server: Sluice):
    ann = Ann(server)
    for answer in [ann.login(f"{PASSWORD}-{number}") for number in range(3)]:
        entry = entry_of(server, answer)
        assert who(entry) == ("anonymous", "")
        assert what(entry) == ("login", "user", ann.email, "refused", "login_failed")
        assert entry["target_id"] != ""
    unknown = send_json(server, "POST", "/v1/auth/login", {"email": PASSWORD, "password": PASSWORD})
    assert what(entry_of(server, unknown)) == ("login", "user", "", "refused", "login_failed")


def test_what_is_refused_before_a_password_is_looked_at_is_told(server: Sluice):
    malformed = send_json(server, "POST", "/v1/auth/login", {"email": "a"})
    assert what(entry_of(server, malformed)) == ("login", "user", "", "refused", "invalid_value")
    ann = Ann(server)
    taken = send_json(server, "POST", "/v1/auth/signup", {"email": ann.email, "password": PASSWORD})
    assert what(entry_of(server, taken)) == ("signup", "user", "", "refused", "email_taken")
    nowhere = send_json(server, "POST", "/v1/auth/nowhere", {})
    assert what(entry_of(server, nowhere))[3:] == ("refused", "not_found")


def test_tries_beyond_the_bound_are_told(server: Sluice):
    body = {"email": f"{secrets.token_hex(4)}@example.org", "password": "x"}
    answers = [send_json(server, "POST", "/v1/auth/login", body) for _ in range(11)]
    assert answers[-1].status_code == 429
    assert what(entry_of(server, answers[-1])) == ("login", "user", "", "refused", "throttled")


def test_a_sign_up_tells_what_it_made(server: Sluice):
    ann = Ann(server)
    told = [(who(row), row["action"], row["target_kind"]) for row in entries(server, ann.signed_up)]
    assert (("anonymous", ""), "create", "user") in told
    assert (("anonymous", ""), "create", "key") in told


def test_keys_of_ones_own_are_told(server: Sluice):
    ann = Ann(server)
    token = ann.token()
    made = send_json(server, "POST", "/v1/keys", {}, token)
    entry = entry_of(server, made)
    assert who(entry) == ("user", ann.email)
    assert (entry["action"], entry["target_kind"], entry["result"]) == ("create", "key", "ok")
    path = f"/v1/keys/{made.json()['prefix']}"
    revoked = entry_of(server, send_json(server, "DELETE", path, token=token))
    assert (who(revoked), revoked["action"], revoked["target"]) == (("user", ann.email), "revoke", entry["target"])
    again = entry_of(server, send_json(server, "DELETE", path, token=token))
    assert (again["action"], again["target_kind"], again["result"]) == ("delete", "key", "ok")


def test_keys_that_are_refused_are_told(server: Sluice):
    ann = Ann(server)
    for token in ("", "nonsense", "a.b.c"):
        entry = entry_of(server, send_json(server, "POST", "/v1/keys", {}, token))
        assert who(entry) == ("anonymous", "")
        assert what(entry)[:4] == ("create", "key", "", "refused")
        assert entry["code"] in ("not_authenticated", "authentication_failed")
    nobodys = entry_of(server, send_json(server, "DELETE", "/v1/keys/nope", token=ann.token()))
    assert who(nobodys) == ("user", ann.email)
    assert what(nobodys) == ("delete", "key", "nope", "refused", "not_found")


def test_no_password_and_no_whole_token_is_told(server: Sluice):
    ann = Ann(server)
    key, token = ann.signed_up.json()["api_key"], ann.token()
    for bearer in ("", key, token):
        entry = entry_of(server, send_json(server, "DELETE", f"/v1/keys/{key}", token=bearer))
        assert entry["target"] == f"{key[: len('sk-sluice-') + 4]}…"
    for path in (f"/v1/auth/{key}", f"/api/{key}", f"/api/keys/{key}", f"/admin/{key}/", f"/admin/keys/project/{key}/"):
        entries(server, send_json(server, "PUT", path, {}))
    ann.login(PASSWORD + PASSWORD)
    told = (server.directory / "data" / "audit.jsonl").read_text()
    told += json.dumps(server.api("GET", "/api/audit?page_size=500").json())
    for secret in (PASSWORD, key, key[len("sk-sluice-") :][:12], token):
        assert secret not in told


def test_reading_there_leaves_no_entry(server: Sluice):
    assert entries(server, send_json(server, "GET", "/v1/keys/nope", token=Ann(server).token())) == []


def test_a_sign_up_that_is_not_taken_is_told(start_sluice: StartSluice):
    server = start_sluice()
    answer = send_json(server, "POST", "/v1/auth/signup", {"email": "a@example.org", "password": PASSWORD})
    assert what(entry_of(server, answer)) == ("signup", "user", "", "refused", "signup_disabled")
