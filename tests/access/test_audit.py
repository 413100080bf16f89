"""F45: refused requests are in the audit log of a running server, a flood of them as a number, and nobody edits it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit.databases import EACH_DATABASE, execute
from tests.kit.management import changed, minted, new_project
from tests.kit.requests import ask
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import soon

PER_SECOND = 5
LARGEST_BODY = 50_000

pytestmark = pytest.mark.server(each=EACH_DATABASE, MAX_PAYLOAD_BYTES=LARGEST_BODY)


def entries(server: Sluice, **filters: Any) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in {"page_size": 500, **filters}.items())
    rows: list[dict[str, Any]] = server.api("GET", f"/api/audit?{query}").json()["results"]
    return rows


def entry_of(server: Sluice, answer: Any) -> dict[str, Any]:
    request_id = answer.headers["x-request-id"]
    soon(lambda: entries(server, request_id=request_id))
    (entry,) = entries(server, request_id=request_id)
    return entry


def test_refusals_of_every_kind_are_told(server: Sluice, upstream: Upstream):
    project = new_project(server)
    key_id, key = minted(server, project=project, allowed_models=["gpt-4.1-mini"], rpm=1)
    mask = server.api("GET", f"/api/keys/{key_id}").json()["mask"]
    name = server.api("GET", f"/api/keys/{key_id}").json()["name"]
    assert ask(server, key).status_code == 200
    limited, model, wrong, missing = (
        ask(server, key), ask(server, key, model="gpt-5"), ask(server, key[:-1]), ask(server, None),
    )  # fmt: skip
    told = [
        (entry["status_code"], entry["code"])
        for entry in (entry_of(server, a) for a in (limited, model, wrong, missing))
    ]
    assert told == [
        (429, "rate_limit_exceeded"), (403, "model_not_allowed"), (401, "invalid_api_key"), (401, "missing_api_key"),
    ]  # fmt: skip
    entry = entry_of(server, model)
    assert (entry["actor_kind"], entry["actor"]) == ("key", f"{name} ({mask})")
    assert (entry["action"], entry["result"], entry["ip"]) == ("request", "refused", "127.0.0.1")
    assert (entry["target_kind"], entry["target_id"]) == ("project", str(project))
    assert (entry["target"], entry["changes"]) == ("POST /v1/chat/completions", {"model": "gpt-5"})
    assert entry_of(server, missing)["actor_kind"] == "anonymous"


def test_bodies_that_are_refused_are_told(server: Sluice, upstream: Upstream):
    _, key = minted(server)
    large = ask(server, key, padding="x" * LARGEST_BODY)
    form = ask(server, key, headers={"content-type": "text/csv"})
    told = [(entry["status_code"], entry["code"]) for entry in (entry_of(server, a) for a in (large, form))]
    assert told == [(413, "payload_too_large"), (415, "unsupported_media_type")]
    assert upstream.requests == []


def test_what_is_not_refused_leaves_no_entry(server: Sluice, upstream: Upstream):
    _, key = minted(server)
    served = ask(server, key)
    refused = ask(server, None)
    entry_of(server, refused)  # which is written later
    assert entries(server, request_id=served.headers["x-request-id"]) == []


def test_management_actions_and_their_answers_share_an_id(server: Sluice):
    answer = server.api("POST", "/api/projects", json={"name": "audited"})
    (entry,) = entries(server, request_id=answer.headers["x-request-id"])
    assert (entry["action"], entry["target"], entry["actor_kind"]) == ("create", "audited", "token")
    changed(server, f"/api/projects/{answer.json()['id']}", notes="n")
    assert entries(server, target="audited", action="update")[0]["changes"] == {"notes": ["", "n"]}


def test_the_database_of_a_server_edits_no_entry(server: Sluice):
    entry_of(server, ask(server, None))
    for statement in ("UPDATE usage_auditentry SET actor = 'x'", "DELETE FROM usage_auditentry"):
        with pytest.raises(Exception, match="append-only"):
            execute(server.database_url, statement)


def test_the_file_has_what_the_log_has(server: Sluice):
    entry = entry_of(server, ask(server, None))

    def told() -> list[dict[str, Any]]:
        text = (server.directory / "data" / "audit.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if line["request_id"] == entry["request_id"]]

    soon(told)  # it is written once the log's own entry is there for good
    (line,) = told()
    assert line["id"] == entry["id"]
    assert {name: line[name] for name in ("action", "code", "ip")} == {
        name: entry[name] for name in ("action", "code", "ip")
    }


def test_a_quick_series_is_told_one_by_one(server: Sluice):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(server, "sk-sluice-wrong"), range(60)))
    ids = {answer.headers["x-request-id"] for answer in answers}
    soon(lambda: ids <= {row["request_id"] for row in entries(server, code="invalid_api_key")})


def test_a_flood_is_told_by_its_number(start_sluice: StartSluice):
    server = start_sluice(AUDIT_REFUSALS_PER_SECOND=PER_SECOND)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(server, "sk-sluice-wrong"), range(200)))
    assert {answer.status_code for answer in answers} == {401}

    def told() -> tuple[int, int]:
        rows = entries(server)
        listed = sum(row["code"] == "invalid_api_key" for row in rows)
        beyond = sum(row["changes"]["by_code"]["invalid_api_key"] for row in rows if row["code"] == "many_refused")
        return listed, beyond

    soon(lambda: sum(told()) == 200)
    took = time.monotonic() - began
    listed, beyond = told()
    assert listed <= PER_SECOND * (took + 2)
    assert beyond
