"""F23: what a key's state answers, and which of several reasons is told."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import httpx
import pytest

from keys.tokens import new_token, read_token, write_token
from tests.kit.ledger import row_of
from tests.kit.management import changed, from_now, minted, new_project
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import in_force, soon

PREFIX = "sk-sluice-"


@dataclass(frozen=True)
class State:
    expired: bool = False
    inactive: bool = False
    revoked: bool = False
    project_inactive: bool = False
    wrong_secret: bool = False


def make_key(sluice: Sluice, state: State) -> str:
    project = new_project(sluice)
    expires_at = from_now(minutes=-1) if state.expired else from_now(hours=1)
    key_id, key = minted(sluice, project=project, is_active=not state.inactive, expires_at=expires_at)
    if state.revoked:
        assert sluice.api("POST", f"/api/keys/{key_id}/revoke").status_code == 200
    if state.project_inactive:
        changed(sluice, f"/api/projects/{project}", is_active=False)
    if state.wrong_secret:
        token = read_token(key, PREFIX)
        key = write_token(token._replace(secret=new_token().secret), PREFIX)
    return key


@pytest.mark.parametrize(
    "state, status, code",
    [
        (State(inactive=True), 401, "key_inactive"),
        (State(expired=True), 401, "key_expired"),
        (State(revoked=True), 401, "key_revoked"),
        (State(project_inactive=True), 403, "project_inactive"),
        # of several reasons the first in the order hash, active, expiry, project is told
        (State(wrong_secret=True), 401, "invalid_api_key"),
        (State(wrong_secret=True, revoked=True), 401, "invalid_api_key"),
        (State(wrong_secret=True, inactive=True, expired=True, project_inactive=True), 401, "invalid_api_key"),
        (State(revoked=True, inactive=True, expired=True), 401, "key_revoked"),
        (State(inactive=True, expired=True), 401, "key_inactive"),
        (State(inactive=True, project_inactive=True), 401, "key_inactive"),
        (State(expired=True, project_inactive=True), 401, "key_expired"),
        (State(revoked=True, project_inactive=True), 401, "key_revoked"),
    ],
    ids=str,
)
def test_a_refusal_names_the_first_reason(sluice: Sluice, upstream: Upstream, state: State, status: int, code: str):
    key = make_key(sluice, state)
    in_force(lambda: ask(sluice, key).json()["error"]["code"] == code)
    error = refused(ask(sluice, key), status, code)
    assert error["type"] == ("permission_error" if status == 403 else "authentication_error")
    assert key not in error["message"]
    last = ask(sluice, key, path="/v1/models", method="GET")
    refused(last, status, code)
    whose = row_of(sluice, last.headers["x-request-id"])["key_id"]
    assert (whose is None) is state.wrong_secret, "the row says whose key it was, if it was anybody's"
    refused(ask(sluice, key, path="/v1/files", method="GET"), status, code)
    assert upstream.requests == []


def test_a_token_that_nobody_was_given_is_invalid(sluice: Sluice, upstream: Upstream):
    refused(ask(sluice, write_token(new_token(), PREFIX)), 401, "invalid_api_key")


def test_a_key_ends_at_its_expiry_by_itself(sluice: Sluice, upstream: Upstream):
    _, key = minted(sluice, expires_at=from_now(seconds=5))
    assert ask(sluice, key).status_code == 200
    soon(lambda: ask(sluice, key).status_code == 401)
    refused(ask(sluice, key), 401, "key_expired")


def test_the_old_token_dies_with_a_rotation(sluice: Sluice, upstream: Upstream):
    key_id, old = minted(sluice)
    assert ask(sluice, old).status_code == 200
    new = sluice.api("POST", f"/api/keys/{key_id}/rotate").json()["key"]
    in_force(lambda: ask(sluice, old).status_code == 401)
    refused(ask(sluice, old), 401, "invalid_api_key")
    assert ask(sluice, new).status_code == 200


def is_refused(client: httpx.Client, headers: dict[str, str]) -> bool:
    return client.get("/v1/models", headers=headers).status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize("way", ["rotate", "revoke", "disable"])
def test_in_one_process_what_is_told_of_a_key_is_in_force(sluice: Sluice, upstream: Upstream, way: str):
    client = sluice.client()
    refused_at_once: list[bool] = []
    for _ in range(25):
        key_id, key = minted(sluice)
        headers = {"authorization": f"Bearer {key}"}
        assert client.get("/v1/models", headers=headers).status_code == 200
        if way == "disable":
            changed(sluice, f"/api/keys/{key_id}", is_active=False)
        else:
            assert sluice.api("POST", f"/api/keys/{key_id}/{way}").status_code == 200
        refused_at_once.append(is_refused(client, headers))
        in_force(partial(is_refused, client, headers))
    # A machine that stands still for the time that an answer waits for it may be an exception, once.
    assert refused_at_once.count(False) <= 1
