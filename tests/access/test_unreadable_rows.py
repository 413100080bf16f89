"""X12: a row that cannot be compiled is skipped and told of; changes beside it are heard as ever, and it heals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit import plain
from tests.kit.databases import databases, execute
from tests.kit.environment import MANAGEMENT_TOKEN
from tests.kit.management import minted, new_project
from tests.kit.providers import new_provider
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.waiting import in_force, soon

PRICE = {"provider": "", "model": "priced", "input": "1", "output": "1"}


def note(server: Sluice, subject: str, pk: int) -> None:
    """What every change leaves."""
    values = f"('{subject}', {pk}, CURRENT_TIMESTAMP)"
    execute(server.database_url, f"INSERT INTO proxy_configchange (subject, object_id, created_at) VALUES {values}")


def configuration(server: Sluice) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {MANAGEMENT_TOKEN}"}
    part: dict[str, Any] = plain.get(f"{server.url}/health/detailed", headers=headers).json()["components"]
    return dict(part["configuration"])


def spoil(server: Sluice, what: str) -> str:
    """A row of this kind that cannot be compiled. Returns what health calls it."""
    if what == "provider":
        pk = new_provider(server, "spoilt", "http://127.0.0.1:1/v1")
        execute(server.database_url, f"UPDATE providers_provider SET kind = 'nonsense' WHERE id = {pk}")
        note(server, "provider", pk)
    elif what == "project":
        pk = new_project(server, budget="5", period="day")
        execute(server.database_url, f"UPDATE keys_project SET allowed_params = '[7]' WHERE id = {pk}")
        note(server, "project", pk)
    else:
        answer = server.api("POST", "/api/prices", json=PRICE)
        assert answer.status_code == 201, answer.text
        pk = answer.json()["id"]
        execute(server.database_url, f"UPDATE usage_priceoverride SET input = 'NaN' WHERE id = {pk}")
        note(server, "priceoverride", pk)
    return f"{what} {pk}"


@pytest.mark.parametrize("database", databases)
@pytest.mark.parametrize("what", ["provider", "project", "price"])
def test_a_revoked_key_is_refused_beside_a_row_that_cannot_be_compiled(
    what: str, database: str, start_sluice: StartSluice
):
    server = start_sluice(database=database)
    key_id, key = minted(server)
    assert ask(server, key).status_code == 200
    spoilt = spoil(server, what)
    soon(lambda: configuration(server)["status"] == "degraded")
    assert [problem.split(":")[0] for problem in configuration(server)["skipped"]] == [spoilt]
    assert ask(server, key).status_code == 200
    assert server.api("POST", f"/api/keys/{key_id}/revoke").status_code == 200
    in_force(lambda: ask(server, key).status_code == 401)
    assert plain.get(f"{server.url}/ready").status_code == 200


def test_it_is_in_force_again_when_it_is_mended_and_the_server_starts_beside_it(start_sluice: StartSluice):
    server = start_sluice()
    _, key = minted(server)
    pk = spoil(server, "provider").split()[1]
    soon(lambda: configuration(server)["status"] == "degraded")
    server.stop()
    server.launch()
    assert configuration(server)["status"] == "degraded"
    assert ask(server, key).status_code == 200
    assert server.api("PATCH", f"/api/providers/{pk}", json={"kind": "openai"}).status_code == 200
    soon(lambda: configuration(server)["status"] == "ok")


def test_a_key_that_cannot_be_compiled_is_refused_alone(start_sluice: StartSluice):
    server = start_sluice()
    project = new_project(server)
    bad_id, bad = minted(server, project=project)
    _, good = minted(server)
    execute(server.database_url, f"UPDATE keys_virtualkey SET allowed_models = '7' WHERE id = {bad_id}")
    refused(ask(server, bad), 503, "database_unavailable")
    assert ask(server, good).status_code == 200
