"""F51: which credential a call is paid with."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.environment import UPSTREAM_KEY
from tests.kit.management import changed, minted, new_project
from tests.kit.providers import AddProvider
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer
from tests.kit.waiting import in_force, soon


def paid_with(router: Sluice, upstream: Upstream, key: str, **options: Any) -> str | None:
    assert ask(router, key, **options).status_code == 200
    return upstream.last.header("authorization")


def test_a_key_without_an_alias_pays_with_the_providers_credential(router: Sluice, upstream: Upstream, key: str):
    assert paid_with(router, upstream, key) == f"Bearer {UPSTREAM_KEY}"


def test_the_keys_alias_goes_before_the_projects(router: Sluice, upstream: Upstream):
    project = new_project(router, upstream_alias="third")
    _, of_project = minted(router, project=project)
    _, of_key = minted(router, project=project, upstream_alias="second")
    assert paid_with(router, upstream, of_project) == "Bearer sk-third-canary"
    assert paid_with(router, upstream, of_key) == "Bearer sk-second-canary"


def test_the_row_names_the_alias(router: Sluice, upstream: Upstream):
    _, key = minted(router, upstream_alias="second")
    answer = ask(router, key)
    soon(lambda: [r["credential"] for r in router.rows() if r["id"] == answer.headers["x-request-id"]] == ["second"])


def test_a_stored_credential_is_used_and_changed_without_a_restart(router: Sluice, upstream: Upstream):
    made = router.api("POST", "/api/credentials", json={"alias": "stored", "secret": "sk-stored-one"}).json()
    _, key = minted(router, upstream_alias="stored")
    in_force(lambda: paid_with(router, upstream, key) == "Bearer sk-stored-one")
    changed(router, f"/api/credentials/{made['id']}", secret="sk-stored-two")
    in_force(lambda: paid_with(router, upstream, key) == "Bearer sk-stored-two")
    router.api("DELETE", f"/api/credentials/{made['id']}")
    in_force(lambda: ask(router, key).status_code == 503)
    refused(ask(router, key), 503, "credential_unavailable")


def test_a_stored_credential_goes_before_the_environments_of_its_alias(router: Sluice, upstream: Upstream):
    _, key = minted(router, upstream_alias="third")
    made = router.api("POST", "/api/credentials", json={"alias": "third", "secret": "sk-third-stored"}).json()
    in_force(lambda: paid_with(router, upstream, key) == "Bearer sk-third-stored")
    router.api("DELETE", f"/api/credentials/{made['id']}")
    in_force(lambda: paid_with(router, upstream, key) == "Bearer sk-third-canary")


def test_an_alias_that_does_not_exist_is_503_and_names_itself_alone(router: Sluice, upstream: Upstream):
    made = router.api("POST", "/api/credentials", json={"alias": "nowhere", "secret": "sk-nowhere"}).json()
    _, key = minted(router, upstream_alias="nowhere")
    router.api("DELETE", f"/api/credentials/{made['id']}")
    in_force(lambda: ask(router, key).status_code == 503)
    upstream.reset()
    error = refused(ask(router, key), 503, "credential_unavailable")
    assert "nowhere" in error["message"]
    assert upstream.requests == []


def test_a_keys_alias_does_not_go_to_a_provider_that_has_no_credential(
    router: Sluice, upstream: Upstream, add_provider: AddProvider
):
    """A secret for one vendor must not travel to a server that was set up without any."""
    upstream.script = chat_answer()
    add_provider("keyless", "/keyless", models={"keyless": ""})
    _, key = minted(router, upstream_alias="second")
    assert ask(router, key, model="keyless").status_code == 200
    assert "canary" not in str(upstream.last.headers)


@pytest.mark.parametrize("name", ["openai-organization", "openai-project", "x-sluice-alias", "x-upstream-alias"])
def test_no_header_of_the_client_chooses_who_pays(router: Sluice, upstream: Upstream, key: str, name: str):
    assert ask(router, key, headers={name: "second"}).status_code == 200
    assert upstream.last.header("authorization") == f"Bearer {UPSTREAM_KEY}"
