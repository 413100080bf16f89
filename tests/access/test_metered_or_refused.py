"""X3: whoever is held to a list of models or to a budget gets what is metered, and nothing that nobody can count."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Any

import httpx
import pytest

from tests.kit.accounts import SCOPES, new_crew
from tests.kit.forms import FORM, form
from tests.kit.ledger import row_of
from tests.kit.management import changed, minted, new_project
from tests.kit.requests import JSON, MODEL, ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, json_answer
from tests.kit.waiting import in_force

BUDGET = "0.0001"
CODE = "endpoint_not_metered"
NOBODYS = "painter-of-no-price"
ANYBODYS = {"foreign_ids": "allow"}
"""Of a project that may ask for what nobody has made: here it is about what may cost."""

ANSWER = json_answer({"id": "x", "object": "list", "data": []})


def text(**members: Any) -> bytes:
    return json.dumps(members).encode()


UNMETERED: dict[str, tuple[str, str, bytes | None, dict[str, str]]] = {
    "background as a number": ("POST", "/v1/responses", text(model=MODEL, input="hi", background=1), JSON),
    "Background": ("POST", "/v1/responses", text(model=MODEL, input="hi", Background=True), JSON),
    "a stored prompt": ("POST", "/v1/responses", text(prompt={"id": "pmpt_1"}), JSON),
    "a batch": ("POST", "/v1/batches", text(input_file_id="file-1", endpoint="/v1/chat/completions"), JSON),
    "a run": ("POST", "/v1/threads/thread_1/runs", text(assistant_id="asst_1"), JSON),
    "a thread and its run": ("POST", "/v1/threads/runs", text(assistant_id="asst_1", model=MODEL), JSON),
    "an assistant": ("POST", "/v1/assistants", text(model=MODEL), JSON),
    "a run of an eval": ("POST", "/v1/evals/eval_1/runs", text(data_source={"model": MODEL}), JSON),
    "an engine": ("POST", "/v1/engines/davinci/edits", text(prompt="hi"), JSON),
    "an image": ("POST", "/v1/images/generations", text(model=NOBODYS, prompt="a cat"), JSON),
    "an image by form": ("POST", "/v1/images/edits", form(model=NOBODYS, prompt="a cat", image="x"), FORM),
    "a transcription": ("POST", "/v1/audio/transcriptions", form(model=NOBODYS, file="x"), FORM),
    "speech": ("POST", "/v1/audio/speech", text(model=NOBODYS, input="hi"), JSON),
    "a tuned model": ("POST", "/v1/fine_tuning/jobs", text(model=MODEL, training_file="file-1"), JSON),
    "a video": ("POST", "/v1/videos", form(model=MODEL, prompt="a cat"), FORM),
    "realtime": ("GET", f"/v1/realtime?model={MODEL}", None, {}),
    "a realtime session": ("POST", "/v1/realtime/client_secrets", text(session={"model": MODEL}), JSON),
    "a vector store": ("POST", "/v1/vector_stores", text(file_ids=["file-1"]), JSON),
    "a search": ("POST", "/v1/vector_stores/vs_1/search", text(query="hi"), JSON),
    "a container": ("POST", "/v1/containers", text(name="c"), JSON),
    "a stored chat that is written to": ("POST", "/v1/chat/completions/chatcmpl-1", text(model=MODEL), JSON),
    "what is yet to be invented": ("POST", "/v1/thoughts", text(model=MODEL, input="hi"), JSON),
    "the same by another method": ("QUERY", "/v1/thoughts", text(model=MODEL, input="hi"), JSON),
    "a question that is asked with GET": ("GET", "/v1/chat/completions", text(model=MODEL, messages=[]), JSON),
    "reading an unknown thing": ("GET", "/v1/thoughts/1", None, {}),
}  # fmt: skip

FREE: dict[str, tuple[str, str, bytes | None, dict[str, str]]] = {
    "the models": ("GET", "/v1/models", None, {}),
    "the files": ("GET", "/v1/files?purpose=batch", None, {}),
    "a file": ("GET", "/v1/files/file-1/content", None, {}),
    "a head": ("HEAD", "/v1/files/file-1", None, {}),
    "a file to delete": ("DELETE", "/v1/files/file-1", None, {}),
    "a file to store": ("POST", "/v1/files", form(purpose="user_data", file="x"), FORM),
    "an upload": ("POST", "/v1/uploads", text(filename="f", purpose="user_data"), JSON),
    "a batch": ("GET", "/v1/batches/batch_1", None, {}),
    "a batch to cancel": ("POST", "/v1/batches/batch_1/cancel", None, {}),
    "stored chats": ("GET", "/v1/chat/completions", None, {}),
    "a job": ("GET", "/v1/fine_tuning/jobs/ftjob-1/events", None, {}),
    "a tuned model to delete": ("DELETE", "/v1/models/ft:gpt-4.1-mini:org::id", None, {}),
    "a conversation": ("POST", "/v1/conversations", text(metadata={}), JSON),
    "a moderation": ("POST", "/v1/moderations", text(input="hi"), JSON),
    "tokens to count": ("POST", "/v1/responses/input_tokens", text(model=MODEL, input="hi"), JSON),
}


def send(server: Sluice, key: str | None, what: tuple[str, str, bytes | None, dict[str, str]]) -> httpx.Response:
    method, path, content, headers = what
    return ask(server, key, method=method, path=path, content=b"" if content is None else content, headers=headers)


@pytest.fixture(scope="module")
def bound(sluice: Sluice) -> dict[str, str]:
    """A key for each way of being bound."""
    crews: dict[str, str] = {}
    for kind in SCOPES:
        if kind != "global":
            settings: dict[str, dict[str, Any]] = {"project": ANYBODYS, kind: {"budget": BUDGET}}
            settings["project"] = ANYBODYS | settings["project"]
            crews[kind] = new_crew(sluice, **settings).token
    project = new_project(sluice, **ANYBODYS)
    return {**crews, "models": minted(sluice, project=project, allowed_models=[MODEL, "gpt-4o-*"])[1]}


WAYS = ("key", "user", "team", "project", "models")


@pytest.mark.parametrize("what", UNMETERED)
def test_what_nobody_can_count_is_refused(sluice: Sluice, upstream: Upstream, bound: dict[str, str], what: str):
    for way in WAYS:
        error = refused(send(sluice, bound[way], UNMETERED[what]), 403, CODE)
        assert error["type"] == "permission_error"
    assert upstream.requests == []


@pytest.mark.parametrize("what", ["an image by form", "a transcription", "speech", "a batch"])
def test_a_body_in_chunks_is_no_way_around(sluice: Sluice, upstream: Upstream, bound: dict[str, str], what: str):
    _, path, content, headers = UNMETERED[what]
    assert content is not None
    for way in WAYS:
        pieces = iter([content[:10], content[10:]])
        refused(sluice.client(bound[way]).post(path, content=pieces, headers=headers), 403, CODE)
    assert upstream.requests == []


@pytest.mark.parametrize(
    "path", ["/v1/deployments/gpt-4o/chat/completions", "/v1/moderations%2f..%2fthoughts", "/v1/files/..%2fthoughts"]
)
def test_a_path_that_hides_what_it_asks_for_does_not_pass(
    sluice: Sluice, upstream: Upstream, bound: dict[str, str], path: str
):
    for way in WAYS:
        assert ask(sluice, bound[way], path=path).status_code in (400, 403, 404)
    assert upstream.requests == []


@pytest.mark.parametrize("what", UNMETERED)
def test_it_passes_where_the_project_allows_it(sluice: Sluice, upstream: Upstream, allowed: list[str], what: str):
    upstream.script = ANSWER
    for key in allowed:
        assert send(sluice, key, UNMETERED[what]).status_code == 200
    assert len(upstream.requests) == len(allowed)


@pytest.fixture(scope="module")
def allowed(sluice: Sluice) -> list[str]:
    """A key with a budget that is never reached, as nobody can count, and one without any."""
    project = new_project(sluice, unmetered="allow", **ANYBODYS)
    return [minted(sluice, project=project, budget=BUDGET)[1], minted(sluice, project=project)[1]]


@pytest.mark.parametrize("what", UNMETERED)
def test_it_passes_for_a_key_that_nothing_binds(sluice: Sluice, upstream: Upstream, free_key: str, what: str):
    upstream.script = ANSWER
    assert send(sluice, free_key, UNMETERED[what]).status_code == 200


@pytest.fixture(scope="module")
def free_key(sluice: Sluice) -> str:
    """Limits other than budgets, and a list of all models, bind nobody to what is metered."""
    project = new_project(sluice, **ANYBODYS)
    return minted(sluice, project=project, rpm=100_000, tpm=100_000_000, allowed_models=["gpt-4o", "*"])[1]


@pytest.mark.parametrize("what", UNMETERED)
def test_a_project_that_refuses_it_refuses_it_to_all(sluice: Sluice, upstream: Upstream, refusing: str, what: str):
    refused(send(sluice, refusing, UNMETERED[what]), 403, CODE)
    assert upstream.requests == []


@pytest.fixture(scope="module")
def refusing(sluice: Sluice) -> str:
    return minted(sluice, project=new_project(sluice, unmetered="refuse", **ANYBODYS))[1]


@pytest.mark.parametrize("what", FREE)
def test_what_costs_nothing_is_for_everybody(
    sluice: Sluice, upstream: Upstream, bound: dict[str, str], refusing: str, what: str
):
    upstream.script = ANSWER
    for key in (bound["key"], bound["models"], refusing):
        assert send(sluice, key, FREE[what]).status_code == 200


def test_a_stored_response_can_be_read_cancelled_and_deleted(sluice: Sluice, upstream: Upstream, bound: dict[str, str]):
    for way in ("project", "models"):
        key = bound[way]
        made = ask(sluice, key, path="/v1/responses", input="hi", background=False)
        assert made.status_code == 200, made.text
        at = f"/v1/responses/{made.json()['id']}"
        for method, rest in (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")):
            assert ask(sluice, key, path=at + rest, method=method, content=b"").status_code == 200, (method, rest)
        refused(ask(sluice, key, path=f"{at}/again", input="hi"), 403, CODE)


def test_the_refusal_says_what_why_and_what_to_do_and_so_does_the_row(sluice: Sluice, upstream: Upstream):
    crew = new_crew(sluice, team={"budget": "5"})
    answer = send(sluice, crew.token, UNMETERED["a batch"])
    message = refused(answer, 403, CODE)["message"]
    assert "POST /v1/batches" in message
    assert "team 'crew-" in message
    assert "unmetered: allow" in message
    row = row_of(sluice, answer.headers["x-request-id"])
    assert (row["outcome"], row["error"], row["endpoint"]) == ("refused", CODE, "/v1/batches")
    assert (row["attempts"], row["cost_usd"]) == (0, 0)

    listed = minted(sluice, allowed_models=[MODEL])[1]
    message = refused(send(sluice, listed, UNMETERED["Background"]), 403, CODE)["message"]
    assert "POST /v1/responses with this `background`" in message
    assert "list of models" in message


def answers(server: Sluice, key: str, what: tuple[str, str, bytes | None, dict[str, str]], status: int) -> bool:
    return send(server, key, what).status_code == status


def thirty(server: Sluice, key: str, what: tuple[str, str, bytes | None, dict[str, str]]) -> list[int]:
    return [send(server, key, what).status_code for _ in range(30)]


@pytest.mark.parametrize("way", [way for way in WAYS if way != "models"])
def test_compaction_is_metered(sluice: Sluice, upstream: Upstream, way: str):
    usage = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
    upstream.script = json_answer({"id": "resp_c", "object": "response.compaction", "output": [], "usage": usage})
    crew = new_crew(sluice, **{way: {"budget": BUDGET}})
    compact = ("POST", "/v1/responses/compact", text(model=MODEL, input="hi"), JSON)
    first = send(sluice, crew.token, compact)
    row = row_of(sluice, first.headers["x-request-id"])
    assert (row["prompt_tokens"], row["completion_tokens"], row["model"]) == (100, 20, MODEL)
    assert row["cost_usd"] > 0
    assert thirty(sluice, crew.token, compact)[-1] == 429


def test_a_list_of_models_holds_for_compaction(sluice: Sluice, upstream: Upstream, bound: dict[str, str]):
    compact = text(model="o1-forbidden", input="hi")
    answer = ask(sluice, bound["models"], path="/v1/responses/compact", content=compact, headers=JSON)
    refused(answer, 403, "model_not_allowed")
    assert ask(sluice, bound["models"], path="/v1/responses/compact", input="hi").status_code == 200


def test_a_budget_that_comes_and_goes_is_heeded(sluice: Sluice, upstream: Upstream):
    crew = new_crew(sluice)
    image = UNMETERED["an image"]
    for kind in ("key", "user", "team", "project"):
        assert send(sluice, crew.token, image).status_code == 200
        crew.limit(sluice, kind, budget="5")
        in_force(lambda: send(sluice, crew.token, image).status_code == 403)
        crew.limit(sluice, kind, budget=None)
        in_force(lambda: send(sluice, crew.token, image).status_code == 200)


def test_what_a_project_says_is_heeded_within_a_second(sluice: Sluice, upstream: Upstream):
    project = new_project(sluice)
    key = minted(sluice, project=project, budget="5")[1]
    image = UNMETERED["an image"]
    says: Iterable[tuple[str | None, int]] = [("allow", 200), ("refuse", 403), (None, 403), ("allow", 200)]
    for word, status in says:
        changed(sluice, f"/api/projects/{project}", unmetered=word)
        in_force(partial(answers, sluice, key, image, status))


def test_a_rule_for_the_model_is_no_less_for_a_stored_prompt(sluice: Sluice, upstream: Upstream):
    project = new_project(sluice, allowed_params={"model": [MODEL]})
    key = minted(sluice, project=project)[1]
    refused(send(sluice, key, UNMETERED["a stored prompt"]), 400, "param_not_readable")
    assert upstream.requests == []


def test_requests_without_a_key_go_by_their_projects_budget(open_sluice: Sluice, upstream: Upstream):
    minted(open_sluice)  # makes the default project
    [project] = open_sluice.api("GET", "/api/projects?name=default").json()["results"]
    path, image = f"/api/projects/{project['id']}", UNMETERED["an image"]
    assert send(open_sluice, None, image).status_code == 200
    changed(open_sluice, path, budget="5")
    in_force(lambda: send(open_sluice, None, image).status_code == 403)
    assert "project 'default' has a budget" in refused(send(open_sluice, None, image), 403, CODE)["message"]
    changed(open_sluice, path, unmetered="allow")
    in_force(lambda: send(open_sluice, None, image).status_code == 200)
    changed(open_sluice, path, unmetered=None, budget=None)
    in_force(lambda: send(open_sluice, None, image).status_code == 200)


def test_a_budget_of_the_gateway_binds_all(open_sluice: Sluice, upstream: Upstream):
    key, image = minted(open_sluice, project=new_project(open_sluice))[1], UNMETERED["an image"]
    changed(open_sluice, "/api/limits/global", budget="5")
    in_force(lambda: send(open_sluice, key, image).status_code == 403)
    assert "this gateway has a budget" in refused(send(open_sluice, key, image), 403, CODE)["message"]
    refused(send(open_sluice, None, image), 403, CODE)
    changed(open_sluice, "/api/limits/global", budget=None)
    in_force(lambda: send(open_sluice, key, image).status_code == 200)
    assert send(open_sluice, None, image).status_code == 200
