"""X56: the list of models has what can be read of each provider's own, in the provider's own words."""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.kit.management import minted
from tests.kit.providers import AddProvider
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Script, Upstream, body_answer, chat_answer, error_answer, json_answer

RICH = {
    "id": "rich/model",
    "created": 1_760_000_001,
    "owned_by": "them",
    "context_length": 131072,
    "pricing": {"prompt": "0.0000010"},
}


def models_of(server: Sluice, key: str) -> dict[str, dict[str, Any]]:
    answer = ask(server, key, path="/v1/models", method="GET")
    assert answer.status_code == 200, answer.text
    assert answer.json()["object"] == "list"
    return {model["id"]: model for model in answer.json()["data"]}


def listing_at(upstream: Upstream, path: str, script: Script) -> None:
    upstream.paths[f"{path}/models"] = script


@pytest.mark.parametrize(
    "shape",
    [
        lambda entries: {"object": "list", "data": entries},
        lambda entries: entries,
        lambda entries: {"models": entries},
    ],
    ids=["OpenAI's", "a bare array", "models"],
)
def test_a_providers_own_members_are_kept(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider, request: Any, shape: Any
):
    path = f"/rich-{abs(hash(request.node.name))}"
    listing_at(upstream, path, json_answer(shape([RICH, {"id": "bare"}])))
    add_provider(path[1:], path)
    found = models_of(router, key)
    assert found["rich/model"] == {**RICH, "object": "model"}
    assert found["bare"] == {"id": "bare", "object": "model", "created": 1_700_000_000, "owned_by": path[1:]}
    one = ask(router, key, path="/v1/models/rich/model", method="GET").json()
    assert one == found["rich/model"]


def test_an_odd_entry_hides_no_other(router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider):
    odd: list[object] = [
        None,
        1,
        [],
        {},
        {"id": None},
        {"id": 7},
        {"id": ""},
        {"id": "a\nb"},
        {"id": "x" * 201},
        {"ID": "no"},
    ]
    entries = [*odd, {"id": "odd-good", "owned_by": None, "n": 1e300}, "odd-text", {"name": "odd-name"}]
    listing_at(upstream, "/odd", json_answer({"data": entries}))
    add_provider("odd", "/odd")
    found = models_of(router, key)
    assert {"odd-good", "odd-text", "odd-name"} <= found.keys()
    assert all(name.isprintable() and 0 < len(name) <= 200 for name in found)


@pytest.mark.parametrize(
    "name, script",
    [
        ("utf8", body_answer(b'{"data":[{"id":"\xff"},{"id":"a","b":"\xff"}]}', content_type="application/json")),
        ("deep", body_answer(b"[" * 100_000, content_type="application/json")),
        ("deep-entry", body_answer(b'{"data":[' + b"[" * 100_000, content_type="application/json")),
        ("page", body_answer(b"<html>", content_type="text/html")),
        ("empty", body_answer(b"", content_type="application/json")),
        ("null", json_answer(None)),
        ("number", json_answer({"data": 7})),
        ("error", error_answer(500)),
        ("surrogate", body_answer(b'{"data":[{"id":"\\ud800"}]}', content_type="application/json")),
    ],
)
def test_one_bad_listing_hurts_no_other(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider, name: str, script: Script
):
    listing_at(upstream, f"/bad-{name}", script)
    listing_at(upstream, f"/good-{name}", json_answer([{"id": f"good-{name}"}]))
    add_provider(f"bad-{name}", f"/bad-{name}")
    add_provider(f"good-{name}", f"/good-{name}")
    assert f"good-{name}" in models_of(router, key)
    if name not in ("surrogate", "utf8"):
        assert f"Provider bad-{name} does not list its models" in router.log_text()


def test_a_model_that_nobody_lists_is_asked_for_where_a_chat_would_go(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    """The provider itself says whether it has it, and more of it."""
    listing_at(upstream, "/shy", json_answer({"data": []}))
    upstream.paths["/shy/models/org/tuned"] = json_answer({"id": "org/tuned", "owned_by": "org", "max": 1})
    upstream.paths["/shy/models/none"] = error_answer(404)
    upstream.paths["/shy/models/broken"] = error_answer(500)
    upstream.paths["/shy/chat/completions"] = chat_answer()
    add_provider("shy", "/shy", priority=1, credential="own", api_key="sk-shy-canary")
    told = ask(router, key, path="/v1/models/org/tuned", method="GET").json()
    assert told == {"id": "org/tuned", "object": "model", "created": 1_700_000_000, "owned_by": "org", "max": 1}
    assert upstream.last.header("authorization") == "Bearer sk-shy-canary"
    refused(ask(router, key, path="/v1/models/none", method="GET"), 404, "model_not_found")
    # Who cannot tell is sent the chat, so it is believed.
    assert ask(router, key, path="/v1/models/broken", method="GET").json()["owned_by"] == "shy"
    assert ask(router, key, model="broken").status_code == 200
    asked = len(upstream.requests)
    assert ask(router, key, path="/v1/models/org%2Ftuned", method="GET").json() == told
    assert len(upstream.requests) == asked, "it is asked once a minute at most"


def test_a_model_of_a_pattern_is_there(router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider):
    add_provider("patterned", "/v1", models={"pat-*": ""}, priority=1)
    assert ask(router, key, path="/v1/models/pat-7", method="GET").json()["owned_by"] == "patterned"
    assert "pat-7" not in models_of(router, key)


@pytest.mark.parametrize("name", ["..", "../files", "a/../../files", "a/./b", "a//b", "..%2ffiles", "%252e%252e/files"])
def test_no_name_leads_to_another_path_of_the_provider(router: Sluice, upstream: Upstream, key: str, name: str):
    with closing(HTTPConnection("127.0.0.1", router.port)) as connection:  # which leaves the path as it is
        connection.request("GET", f"/v1/models/{name}", headers={"authorization": f"Bearer {key}"})
        assert connection.getresponse().status in (400, 404)
    assert all(received.path in ("/v1/models", "/models") for received in upstream.requests)


def test_a_key_learns_of_no_model_that_it_may_not_use(router: Sluice, upstream: Upstream):
    _, some = minted(router, allowed_models=["mine-*"])
    refused(ask(router, some, path="/v1/models/theirs", method="GET"), 404, "model_not_found")
    assert not [received for received in upstream.requests if received.path.endswith("theirs")]


def test_json_is_told_as_it_was_written(router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider):
    raw = b'{"data":[{"id":"exact","n":1.0,"big":123456789012345678901234567890,"s":"\\u00e9"}]}'
    listing_at(upstream, "/exact", body_answer(raw, content_type="application/json"))
    add_provider("exact", "/exact")
    text = ask(router, key, path="/v1/models", method="GET").text
    assert '"n":1.0,"big":123456789012345678901234567890,"s":"\\u00e9"' in text
    assert json.loads(text)
