"""X50: what goes on with a stored response or conversation goes to its maker, for the same project alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from tests.kit.management import minted, new_project
from tests.kit.providers import AddProvider
from tests.kit.requests import JSON, ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Received, Script, Upstream, echo, frame, json_answer, sse
from tests.kit.upstream.answers import response_object

_serial = count(1)


def make(received: Received) -> Script:
    """A response or conversation under a new id; what is asked of it afterwards is echoed."""
    if received.method == "POST" and received.path.endswith("/conversations"):
        return json_answer({"id": f"conv_{next(_serial)}", "object": "conversation", "metadata": {}})
    if received.method == "POST" and received.path.endswith("/responses"):
        made = {**response_object("hi"), "id": f"resp_c{next(_serial)}", "model": received.json()["model"]}
        if received.json().get("stream"):
            return sse([frame({"type": "response.completed", "response": made}, "response.completed")])
        return json_answer(made)
    return echo(received)


def respond(server: Sluice, key: str, path: str = "/v1/responses", **body: Any) -> Any:
    return ask(server, key, path=path, input="hi", **body)


def made_by(server: Sluice, key: str, what: str, **body: Any) -> str:
    path = "/v1/conversations" if what == "conversation" else "/v1/responses"
    answer = respond(server, key, path, **body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def pair(upstream: Upstream, add_provider: AddProvider) -> tuple[str, str]:
    """Two providers that have the same model under names of their own; the second is the one that is drawn."""
    upstream.script = make
    number = next(_serial)
    first, second = f"first-{number}", f"second-{number}"
    for name, weight in ((first, 1), (second, 1_000_000)):
        own = {"credential": "own", "api_key": f"sk-{name}-canary"}
        add_provider(name, f"/{name}", models={"shared": f"own-{name}", name: ""}, weight=weight, **own)
    return first, second


PARAMS: dict[str, Callable[[str], dict[str, Any]]] = {
    "previous_response_id": lambda made: {"previous_response_id": made},
    "conversation": lambda made: {"conversation": made},
    "conversation as an object": lambda made: {"conversation": {"id": made}},
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_is_continued_at_its_maker(
    router: Sluice, upstream: Upstream, key: str, pair: tuple[str, str], stream: bool
):
    first, _ = pair
    before = made_by(router, key, "response", model=first)
    for _ in range(5):
        answer = respond(router, key, model="shared", previous_response_id=before, stream=stream)
        assert (answer.status_code, answer.headers["x-provider"]) == (200, first)
        assert upstream.last.header("authorization") == f"Bearer sk-{first}-canary"
        assert upstream.last.json()["model"] == f"own-{first}"
        told = json.loads(answer.text.split("data: ")[-1])["response"] if stream else answer.json()
        assert told["model"] == "shared"
        before = told["id"]


@pytest.mark.parametrize("param", list(PARAMS)[1:])
def test_a_conversation_is_continued_at_its_maker(
    router: Sluice, upstream: Upstream, key: str, pair: tuple[str, str], param: str
):
    made = made_by(router, key, "conversation", model=pair[0])
    for _ in range(3):
        answer = respond(router, key, model="shared", **PARAMS[param](made))
        assert (answer.status_code, answer.headers["x-provider"]) == (200, pair[0])


@pytest.mark.parametrize("path", ["/v1/responses/input_tokens", "/v1/responses/compact"])
def test_what_is_counted_or_made_shorter_goes_there_too(
    router: Sluice, upstream: Upstream, key: str, pair: tuple[str, str], path: str
):
    made = made_by(router, key, "response", model=pair[0])
    answer = respond(router, key, path, model="shared", previous_response_id=made)
    assert (answer.status_code, answer.headers["x-provider"]) == (200, pair[0])


@pytest.mark.parametrize("method, rest", [("GET", ""), ("POST", ""), ("DELETE", ""), ("GET", "/items?limit=2")])
def test_a_conversation_is_asked_for_where_it_was_made(
    router: Sluice, upstream: Upstream, key: str, pair: tuple[str, str], method: str, rest: str
):
    made = made_by(router, key, "conversation", model=pair[0])
    answer = ask(router, key, path=f"/v1/conversations/{made}{rest}", method=method)
    assert (answer.status_code, answer.headers["x-provider"]) == (200, pair[0])
    _, other = minted(router, project=new_project(router))
    answer = ask(router, other, path=f"/v1/conversations/{made}{rest}", method=method)
    refused(answer, 404, "conversation_not_found")


@pytest.mark.parametrize("param", PARAMS)
def test_another_projects_is_no_different_from_none(
    router: Sluice, upstream: Upstream, key: str, pair: tuple[str, str], param: str
):
    what = "response" if "response" in param else "conversation"
    made = made_by(router, key, what, model=pair[0])
    _, other = minted(router, project=new_project(router))
    asked = len(upstream.requests)
    told = [
        refused(respond(router, other, **PARAMS[param](asked_for)), 404, f"{what}_not_found")
        for asked_for in (made, "none_1")
    ]
    assert str(told[0]).replace(made, "") == str(told[1]).replace("none_1", "")
    assert told[0]["param"] == param.removesuffix(" as an object")
    assert len(upstream.requests) == asked
    _, same = minted(router)
    assert respond(router, same, model=pair[0], **PARAMS[param](made)).status_code == 200


def test_the_makers_list_of_models_holds(router: Sluice, upstream: Upstream, key: str, pair: tuple[str, str]):
    first, second = pair
    made = made_by(router, key, "response", model=first)
    error = refused(respond(router, key, model=second, previous_response_id=made), 404, "model_not_found")
    assert made in error["message"]


@pytest.mark.parametrize("value", [7, True, ["resp_1"], {"id": "resp_1"}])
def test_what_is_no_id_is_a_400(router: Sluice, upstream: Upstream, key: str, value: Any):
    refused(respond(router, key, previous_response_id=value), 400, "invalid_type")
    assert upstream.requests == []


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_to_go_on_with_goes_anywhere(router: Sluice, upstream: Upstream, key: str, value: Any):
    upstream.script = make
    assert respond(router, key, previous_response_id=value, conversation=value).status_code == 200


def test_both_at_two_providers_is_a_400(router: Sluice, upstream: Upstream, key: str, pair: tuple[str, str]):
    one = made_by(router, key, "response", model=pair[0])
    other = made_by(router, key, "conversation", model=pair[1])
    refused(respond(router, key, model="shared", previous_response_id=one, conversation=other), 400, "invalid_value")


def test_a_conversation_is_known_after_a_restart(start_sluice, upstream: Upstream):
    server = start_sluice()
    upstream.script = make
    key = server.mint()
    made = ask(server, key, path="/v1/conversations", content=b"{}", headers=JSON).json()["id"]
    server.rows(expect=1)
    assert server.stop() == 0
    server.launch()
    assert respond(server, key, conversation=made).status_code == 200
    assert ask(server, key, path=f"/v1/conversations/{made}", method="GET").status_code == 200
