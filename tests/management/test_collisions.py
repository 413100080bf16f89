"""X16: of two changes at the same time, both are in, or one is refused (404, 409); none is lost, none comes back, and
nothing is answered with 500. Others' locks are held by the test until both requests stand where they may collide."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest

from proxy.configuration.changes import ADVISORY_LOCK
from tests.kit.html_forms import filled
from tests.kit.management import create
from tests.kit.services import processes
from tests.kit.sluice import Sluice

pytestmark = pytest.mark.server(database="postgres", upstream_url=None)

NOTES = "SELECT pg_advisory_lock(%s)"
Call = Callable[[], httpx.Response]


@contextmanager
def holding(server: Sluice, statement: str, *values: Any) -> Iterator[Callable[[int], None]]:
    """Somebody else's lock, in the way. Gives what waits until so many of the server's transactions want a lock."""
    with (
        psycopg.connect(server.database_url) as holder,
        psycopg.connect(server.database_url, autocommit=True) as looker,
    ):
        holder.execute(statement, values)

        def wait_for(number: int) -> None:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )

            def enough() -> bool:
                row = looker.execute(waiting).fetchone()
                return row is not None and row[0] >= number

            assert processes.poll(enough, timeout=30)

        yield wait_for


def at_once(server: Sluice, first: Call, second: Call, statement: str, *values: Any) -> tuple[int, int]:
    """Both statuses. The second begins when the first is held up."""
    with ThreadPoolExecutor(2) as pool:
        with holding(server, statement, *values) as wait_for:
            one = pool.submit(first)
            wait_for(1)
            two = pool.submit(second)
            wait_for(2)
        return one.result().status_code, two.result().status_code


def new(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(4)}"


ROW = "SELECT 1 FROM usage_priceoverride WHERE id = %s FOR UPDATE"


def test_of_two_changes_of_one_price_none_is_lost(server):
    price = create(server, "/api/prices", {"model": new("m"), "input": "1", "output": "2"})
    where = f"/api/prices/{price['id']}"
    statuses = at_once(
        server,
        lambda: server.api("PATCH", where, json={"input": "3"}),
        lambda: server.api("PATCH", where, json={"output": "4"}),
        ROW,
        price["id"],
    )
    told = server.api("GET", where).json()
    assert (statuses, told["input"], told["output"]) == ((200, 200), "3.000000", "4.000000")


def test_a_price_that_is_deleted_does_not_come_back(server):
    price = create(server, "/api/prices", {"model": new("m"), "input": "1", "output": "2"})
    where = f"/api/prices/{price['id']}"
    statuses = at_once(
        server,
        lambda: server.api("DELETE", where),
        lambda: server.api("PATCH", where, json={"input": "3"}),
        ROW,
        price["id"],
    )
    assert statuses == (204, 404)
    assert server.api("GET", where).status_code == 404


def test_a_user_is_deactivated_beside_a_change_of_its_limits(server):
    user = create(server, "/api/users", {"email": f"{new('u')}@example.org"})
    where = f"/api/users/{user['id']}"
    statuses = at_once(
        server,
        lambda: server.api("PATCH", where, json={"is_active": False}),
        lambda: server.api("PATCH", where, json={"rpm": 5}),
        NOTES,
        ADVISORY_LOCK,
    )
    told = server.api("GET", where).json()
    assert (statuses, told["is_active"], told["rpm"]) == ((200, 200), False, 5)


def test_a_key_is_minted_beside_the_deletion_of_its_project(server):
    project = create(server, "/api/projects", {"name": new("p")})
    statuses = at_once(
        server,
        lambda: server.api("POST", "/api/keys", json={"name": "k", "project": project["id"]}),
        lambda: server.api("DELETE", f"/api/projects/{project['id']}"),
        NOTES,
        ADVISORY_LOCK,
    )
    assert statuses == (201, 409)


def test_a_project_is_deleted_beside_the_minting_of_a_key(server):
    project = create(server, "/api/projects", {"name": new("p")})
    statuses = at_once(
        server,
        lambda: server.api("DELETE", f"/api/projects/{project['id']}"),
        lambda: server.api("POST", "/api/keys", json={"name": "k", "project": project["id"]}),
        NOTES,
        ADVISORY_LOCK,
    )
    assert statuses == (204, 409)


@pytest.mark.parametrize("noun", ["projects", "teams", "tiers", "providers"])
def test_a_row_is_changed_beside_its_deletion(server, noun):
    row = create(
        server, f"/api/{noun}", {"name": new("x"), **({"base_url": "http://x/v1"} if noun == "providers" else {})}
    )
    where = f"/api/{noun}/{row['id']}"
    statuses = at_once(
        server,
        lambda: server.api("DELETE", where),
        lambda: server.api("PATCH", where, json={"name": new("y")}),
        NOTES,
        ADVISORY_LOCK,
    )
    assert statuses == (204, 404)


def test_two_changes_of_the_limits_of_everybody_are_both_in(server):
    server.api("PATCH", "/api/limits/global", json={"rpm": 1_000})
    statuses = at_once(
        server,
        lambda: server.api("PATCH", "/api/limits/global", json={"rps": 500}),
        lambda: server.api("PATCH", "/api/limits/global", json={"burst": None, "tpm": 9_000}),
        NOTES,
        ADVISORY_LOCK,
    )
    told = server.api("GET", "/api/limits/global").json()
    assert (statuses, told["rpm"], told["rps"], told["tpm"]) == ((200, 200), 1_000, 500, 9_000)


PASSWORD = "a-weir-holds-water"


@pytest.fixture(scope="module")
def operator(server: Sluice) -> httpx.Client:
    """Signed in to the admin."""
    server.env["DJANGO_SUPERUSER_PASSWORD"] = PASSWORD
    server.manage("createsuperuser", "--noinput", "--username", "operator", "--email", "o@example.org", json=False)
    client = server.client(follow_redirects=True)
    form = filled(client.get("/admin/login/").text, "login-form", username="operator", password=PASSWORD)
    assert client.post("/admin/login/", data=form).url.path == "/admin/"
    return client


KEY_ROW = "SELECT 1 FROM keys_virtualkey WHERE id = %s FOR UPDATE"


@pytest.mark.parametrize("verb", ["disabled", "revoked"])
def test_a_key_that_is_disabled_beside_a_form_of_the_admin_stays_so(server, operator, verb):
    """X19: the form is compared with what is in force while nobody else can write it."""
    key = create(server, "/api/keys", {"name": new("k")})
    page, where = f"/admin/keys/virtualkey/{key['id']}/change/", f"/api/keys/{key['id']}"
    form = filled(operator.get(page).text, "virtualkey_form", notes="new")
    disable = {
        "disabled": lambda: server.api("PATCH", where, json={"is_active": False}),
        "revoked": lambda: server.api("POST", f"{where}/revoke"),
    }[verb]
    answers: list[httpx.Response] = []

    def save() -> httpx.Response:
        answers.append(operator.post(page, data=form))
        return answers[0]

    assert at_once(server, disable, save, KEY_ROW, key["id"]) == (200, 200)
    told = server.api("GET", where).json()
    assert told["status"] == {"disabled": "inactive", "revoked": "revoked"}[verb]
    assert told["notes"] == {"disabled": "new", "revoked": ""}[verb]
    assert {"disabled": "Others changed", "revoked": "is revoked, for good"}[verb] in answers[0].text
