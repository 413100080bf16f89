"""F3: a stored response is asked for where it was made."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from tests.kit.management import minted, new_project
from tests.kit.providers import new_provider
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Received, Script, Upstream, echo, frame, json_answer, sse
from tests.kit.upstream.answers import response_object
from tests.kit.waiting import soon

_serial = count(1)


def make(received: Received) -> Script:
    """A response or file under a new id; what is asked of it afterwards is echoed."""
    if received.method == "POST" and received.path.endswith("/files"):
        return json_answer({"id": f"file-{next(_serial)}", "object": "file"})
    if received.method != "POST" or not received.path.endswith("/responses"):
        return echo(received)
    made = {**response_object("hi"), "id": f"resp_{next(_serial)}"}
    if received.json().get("stream"):
        return sse([frame({"type": "response.completed", "response": made}, "response.completed")])
    return json_answer(made)


def make_one(server: Sluice, key: str, **body: Any) -> str:
    answer = ask(server, key, path="/v1/responses", input="hi", **body)
    assert answer.status_code == 200, answer.text
    text = answer.text.split("data: ")[-1] if body.get("stream") else answer.text
    document = json.loads(text)
    return str(document.get("response", document)["id"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "method, rest", [("GET", ""), ("GET", "/input_items?limit=2"), ("DELETE", ""), ("POST", "/cancel")]
)
def test_it_goes_to_the_provider_and_credential_that_made_it(
    upstream: Upstream, router: Sluice, method: str, rest: str, stream: bool
):
    upstream.script = make
    name = f"maker-{next(_serial)}"
    own = {"credential": "own", "api_key": "sk-elsewhere", "models": {name: ""}}
    new_provider(router, name, f"http://127.0.0.1:{upstream.port}/{name}", **own)
    _, key = minted(router)
    soon(lambda: ask(router, key, path=f"/v1/models/{name}", method="GET").status_code == 200)
    made = make_one(router, key, model=name, stream=stream)
    answer = ask(router, key, path=f"/v1/responses/{made}{rest}", method=method, content=b"")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-provider"] == name
    path, _, query = rest.partition("?")
    assert (upstream.last.method, upstream.last.path) == (method, f"/{name}/responses/{made}{path}")
    assert upstream.last.query == query
    assert upstream.last.header("authorization") == "Bearer sk-elsewhere"


def test_the_alias_that_made_it_is_used_whatever_the_key_says_now(start_sluice, upstream: Upstream):
    server = start_sluice(OPENAI_KEYS="second=sk-second")
    upstream.script = make
    key_id, key = minted(server, upstream_alias="second")
    made = make_one(server, key)
    server.api("PATCH", f"/api/keys/{key_id}", json={"upstream_alias": ""})
    soon(lambda: ask(server, key).status_code and upstream.last.header("authorization") != "Bearer sk-second")
    assert ask(server, key, path=f"/v1/responses/{made}", method="GET").status_code == 200
    assert upstream.last.header("authorization") == "Bearer sk-second"


def test_another_projects_key_gets_404_as_for_none_at_all(router: Sluice, upstream: Upstream):
    upstream.script = make
    _, key = minted(router)
    _, same = minted(router)
    _, other = minted(router, project=new_project(router))
    made = make_one(router, key)
    before = len(upstream.requests)
    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
        answer = ask(router, other, path=f"/v1/responses/{made}{rest}", method=method, content=b"")
        missing = ask(router, other, path=f"/v1/responses/resp_none{rest}", method=method, content=b"")
        told = refused(answer, 404, "response_not_found")
        assert str(told).replace(made, "") == str(refused(missing, 404, "response_not_found")).replace("resp_none", "")
    assert len(upstream.requests) == before
    assert ask(router, same, path=f"/v1/responses/{made}", method="GET").status_code == 200


def test_another_worker_and_a_restarted_server_know_it(start_sluice, upstream: Upstream):
    server = start_sluice("postgres", redis=True, workers=2)
    upstream.script = make
    key = server.mint()
    made = [make_one(server, key) for _ in range(4)]
    files = [ask(server, key, path="/v1/files").json()["id"] for _ in range(4)]
    server.rows(expect=8)  # what one worker made the other knows from the ledger
    paths = [f"/v1/responses/{each}" for each in made] + [f"/v1/files/{each}" for each in files]
    for path in paths * 3:
        assert ask(server, key, path=path, method="GET").status_code == 200
    assert server.stop() == 0
    server.launch()
    for path in paths:
        assert ask(server, key, path=path, method="GET").status_code == 200
