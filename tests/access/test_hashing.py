"""X31: passwords are hashed outside of transactions, the admin's door is throttled, a busy database is told as such."""

from __future__ import annotations

import secrets
import sqlite3
from typing import Any

import bcrypt
import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from keys.management.connections import Local
from tests.kit import plain
from tests.kit.environment import MANAGEMENT_TOKEN
from tests.kit.services import Services
from tests.kit.sluice import Sluice, StartSluice
from usage.audit.entry import AuditEntry

PASSWORD = "correct horse"
BEARER = {"authorization": f"Bearer {MANAGEMENT_TOKEN}"}


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each hash that was worked out: whether that was inside of a transaction."""
    found: list[bool] = []
    hashpw = bcrypt.hashpw

    def watched(*args: Any) -> bytes:
        found.append(connection.in_atomic_block)
        return hashpw(*args)

    monkeypatch.setattr(bcrypt, "hashpw", watched)
    return found


def sign_in(name: str, client: Client) -> int:
    body = {"email": name, "password": PASSWORD}
    return client.post("/v1/auth/login", body, content_type="application/json").status_code


def sign_in_wrongly(name: str, client: Client) -> int:
    body = {"email": f"no-{name}", "password": PASSWORD}
    return client.post("/v1/auth/login", body, content_type="application/json").status_code


def sign_up(name: str, client: Client) -> int:
    body = {"email": f"new-{name}", "password": PASSWORD}
    return client.post("/v1/auth/signup", body, content_type="application/json").status_code


def sign_in_at_the_admin(name: str, client: Client) -> int:
    return client.post("/admin/login/?next=/admin/", {"username": name, "password": PASSWORD}).status_code


def change_ones_password(name: str, client: Client) -> int:
    client.force_login(get_user_model().objects.get(username=name))
    new = {"old_password": PASSWORD, "new_password1": "battery staple", "new_password2": "battery staple"}
    return client.post("/admin/password_change/", new).status_code


def add_a_user_in_the_admin(name: str, client: Client) -> int:
    client.force_login(get_user_model().objects.get(username=name))
    form = {"username": f"new-{name}", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    return client.post("/admin/auth/user/add/", form).status_code


def make_a_user(name: str, client: Client) -> int:
    body = {"email": f"new-{name}", "password": PASSWORD}
    return client.post("/api/users", body, content_type="application/json", headers=BEARER).status_code


def make_a_user_by_command(name: str, client: Client) -> int:
    return Local().exchange("POST", "/api/users", {}, {"email": f"new-{name}", "password": PASSWORD})[0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "way, status, entries",
    [
        (sign_in, 200, ["login"]),
        (sign_in_wrongly, 401, ["login"]),
        (sign_up, 201, None),
        (sign_in_at_the_admin, 302, ["login"]),
        (change_ones_password, 302, None),
        (add_a_user_in_the_admin, 302, None),
        (make_a_user, 201, None),
        (make_a_user_by_command, 201, None),
    ],
)
def test_no_password_is_hashed_inside_of_a_transaction(
    settings: Any, inside: list[bool], way: Any, status: int, entries: list[str] | None
):
    settings.SIGNUP_ENABLED = True
    name = f"ann-{secrets.token_hex(4)}@example.org"
    get_user_model().objects.create_superuser(name, email=name, password=PASSWORD)
    inside.clear()
    before = set(AuditEntry.objects.values_list("pk", flat=True))
    assert way(name, Client()) == status
    assert inside
    assert not any(inside)
    if entries is not None:
        told = AuditEntry.objects.exclude(pk__in=before).values_list("action", flat=True)
        assert [action.partition("_")[0] for action in told] == entries, "what was begun again was told of twice"


def test_the_admins_door_and_the_apis_count_tries_together(sluice: Sluice):
    name = f"bob-{secrets.token_hex(4)}@example.org"
    with plain.client(base_url=sluice.url) as browser:
        browser.get("/admin/login/")
        form = {"username": name, "password": "x", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        answers = [browser.post("/admin/login/", data=form) for _ in range(9)]
        assert [answer.status_code for answer in answers] == [200] * 9
        assert plain.post(f"{sluice.url}/v1/auth/login", json={"email": name, "password": "x"}).status_code == 401
        refused = browser.post("/admin/login/", data=form)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert "Too many tries." in refused.text


def test_a_locked_database_is_told_as_503(start_sluice: StartSluice):
    server = start_sluice()
    email = f"eve-{secrets.token_hex(4)}@example.org"
    writer = sqlite3.connect(server.database_url.removeprefix("sqlite:///"), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        answers = [
            plain.post(f"{server.url}/v1/auth/login", json={"email": email, "password": "x"}, timeout=60),
            server.api("POST", "/api/projects", json={"name": "p"}, timeout=60),
        ]
    finally:
        writer.close()
    assert [answer.status_code for answer in answers] == [503, 503]
    assert [int(answer.headers["retry-after"]) for answer in answers] == [5, 5]
    assert answers[0].json()["error"]["code"] == "database_unavailable"
    assert answers[1].json()["code"] == "database_unavailable"
    assert server.api("POST", "/api/projects", json={"name": "p"}).status_code == 201


def test_the_control_plane_says_in_its_own_shapes_that_the_database_is_away(
    start_sluice: StartSluice, services: Services
):
    """X34."""
    from tests.kit.databases import migrate
    from tests.kit.services import PostgresServer

    with PostgresServer() as postgres:
        url = postgres.url_of(postgres.create())
        migrate(url)
        server = start_sluice(url)
        postgres.stop()
        own = plain.post(f"{server.url}/v1/auth/login", json={"email": "a@example.org", "password": "x"}, timeout=60)
        listed, made = server.api("GET", "/api/keys"), server.api("POST", "/api/projects", json={"name": "p"})
        browsed = plain.get(f"{server.url}/admin/", headers={"cookie": f"sessionid={secrets.token_hex(16)}"})
        postgres.start()
    assert [answer.status_code for answer in (own, listed, made, browsed)] == [503] * 4
    assert {answer.headers["retry-after"] for answer in (own, listed, made, browsed)} == {"5"}
    assert own.json()["error"]["code"] == "database_unavailable"
    assert listed.json() == made.json()
    assert listed.json()["code"] == "database_unavailable"
