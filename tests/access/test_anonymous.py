"""F21: what `REQUIRE_API_KEY=false` opens, and what it does not."""

from __future__ import annotations

import time

import pytest

from keys.tokens import new_token, write_token
from tests.kit.ledger import row_of
from tests.kit.management import changed, from_now, minted
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import in_force, soon


def default_project_id(server: Sluice) -> int:
    listed = server.api("GET", "/api/projects?name=default").json()["results"]
    return int(listed[0]["id"])


def test_an_anonymous_request_passes_and_is_attributed_to_the_default_project(open_sluice: Sluice, upstream: Upstream):
    minted(open_sluice)  # makes the default project, where no one has yet
    soon(lambda: row_of(open_sluice, ask(open_sluice).headers["x-request-id"])["project_id"])
    answer = ask(open_sluice)
    assert answer.status_code == 200
    row = row_of(open_sluice, answer.headers["x-request-id"])
    assert (row["key_id"], row["project_id"]) == (None, default_project_id(open_sluice))


def test_the_first_anonymous_request_of_a_new_installation_is_attributed(open_sluice: Sluice, upstream: Upstream):
    """Also where no key was ever minted, which is what makes the default project."""
    with Sluice.start(upstream_url=upstream.url, REQUIRE_API_KEY=False) as server:
        answer = ask(server)
        assert answer.status_code == 200
        assert row_of(server, answer.headers["x-request-id"])["project_id"] == default_project_id(server)


def test_a_known_key_is_still_attributed(open_sluice: Sluice, upstream: Upstream):
    key_id, key = minted(open_sluice)
    answer = ask(open_sluice, key)
    assert answer.status_code == 200
    assert row_of(open_sluice, answer.headers["x-request-id"])["key_id"] == key_id


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key"])
def test_an_unknown_key_is_401_also_where_none_is_needed(open_sluice: Sluice, upstream: Upstream, name: str):
    for text in (write_token(new_token(), "sk-sluice-"), "sk-someone-elses"):
        answer = ask(open_sluice, headers={name: f"Bearer {text}" if name == "authorization" else text})
        refused(answer, 401, "invalid_api_key")
    assert upstream.requests == []


@pytest.mark.parametrize("given", ["Bearer\tnope", "Bearernope", "Token nope", "nope"])
def test_whatever_is_shown_as_a_key_is_held_to_be_one(open_sluice: Sluice, upstream: Upstream, given: str):
    refused(ask(open_sluice, headers={"authorization": given}), 401, "invalid_api_key")
    assert upstream.requests == []


def test_expired_inactive_and_revoked_keys_are_401_also_where_none_is_needed(open_sluice: Sluice, upstream: Upstream):
    _, expired = minted(open_sluice, expires_at=from_now(seconds=-1))
    _, inactive = minted(open_sluice, is_active=False)
    revoked_id, revoked = minted(open_sluice)
    assert open_sluice.api("POST", f"/api/keys/{revoked_id}/revoke").status_code == 200
    refused(ask(open_sluice, expired), 401, "key_expired")
    refused(ask(open_sluice, inactive), 401, "key_inactive")
    refused(ask(open_sluice, revoked), 401, "key_revoked")
    assert upstream.requests == []


def test_a_blocked_project_blocks_its_anonymous_requests(open_sluice: Sluice, upstream: Upstream):
    minted(open_sluice)
    project_id = default_project_id(open_sluice)
    changed(open_sluice, f"/api/projects/{project_id}", is_active=False)
    try:
        in_force(lambda: ask(open_sluice).status_code == 403)
        refused(ask(open_sluice), 403, "project_inactive")
    finally:
        changed(open_sluice, f"/api/projects/{project_id}", is_active=True)
    in_force(lambda: ask(open_sluice).status_code == 200)


@pytest.mark.parametrize("way", ["delete", "disable"])
def test_the_end_of_the_last_key_does_not_open_the_gateway(sluice: Sluice, upstream: Upstream, way: str):
    key_id, key = minted(sluice)
    assert ask(sluice, key).status_code == 200
    if way == "delete":
        assert sluice.api("DELETE", f"/api/keys/{key_id}").status_code == 204
    else:
        changed(sluice, f"/api/keys/{key_id}", is_active=False)
    in_force(lambda: ask(sluice, key).status_code == 401)
    time.sleep(0.5)  # past a look for news
    refused(ask(sluice), 401, "missing_api_key")
    refused(ask(sluice, write_token(new_token(), "sk-sluice-")), 401, "invalid_api_key")
    assert ask(sluice, key).status_code == 401
