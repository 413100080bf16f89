"""F80, F82, F84, F85: an answer is stored and answers the same request again, for who may see it, as long as it may."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.kit.caching import OPT_IN, cache_of, key_of_project, question, serial
from tests.kit.ledger import shown_row_of
from tests.kit.management import minted, new_project
from tests.kit.providers import add_provider
from tests.kit.requests import CHAT, STREAM, WITH_USAGE, ask, refused
from tests.kit.services import processes
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import (
    Chunk,
    Close,
    EndChunks,
    Head,
    Script,
    Send,
    Upstream,
    body_answer,
    chat_answer,
    chat_frames,
    chat_stream,
    error_answer,
    json_answer,
    stream_head,
    usage_of,
)

pytestmark = [
    pytest.mark.server(prices={"gpt-4.1-mini": {"input": "1", "output": "2"}}),
    pytest.mark.key(project={"cache_policy": "on"}),
]


# --- what is stored ----------------------------------------------------------------------------------------


def test_the_same_question_is_asked_of_the_provider_once(sluice: Sluice, upstream: Upstream, key: str):
    asked = question()
    first, second = ask(sluice, key, **asked), ask(sluice, key, **asked)
    assert (cache_of(first), cache_of(second)) == ("MISS", "HIT")
    assert second.content == first.content
    assert second.headers["content-type"] == first.headers["content-type"]
    assert len(upstream.requests) == 1
    assert (first.headers["x-cache-hit"], second.headers["x-cache-hit"]) == ("0", "1")
    assert first.headers["x-cache-key"] == second.headers["x-cache-key"]
    assert "age" not in first.headers
    assert 0 <= int(second.headers["age"]) <= 5
    assert second.headers["cache-status"].startswith("Sluice; hit; ttl=")


@pytest.mark.parametrize("body", [STREAM, WITH_USAGE], ids=["without-usage", "with-usage"])
def test_a_stream_is_replayed_byte_for_byte(sluice: Sluice, upstream: Upstream, key: str, body: dict[str, Any]):
    upstream.script = chat_stream(usage=usage_of(11, 5))
    asked = {**body, **question()}
    first, second = ask(sluice, key, **asked), ask(sluice, key, **asked)
    assert (cache_of(first), cache_of(second)) == ("MISS", "HIT")
    assert second.content == first.content
    assert (b'"usage"' in second.content) is (body is WITH_USAGE)
    assert second.headers["content-type"].startswith("text/event-stream")
    assert len(upstream.requests) == 1


def test_who_did_not_ask_for_usage_sees_none_in_a_replay_and_who_asked_does(
    sluice: Sluice, upstream: Upstream, key: str
):
    upstream.script = chat_stream(usage=usage_of(11, 5))
    asked = question()
    told = ask(sluice, key, **{**WITH_USAGE, **asked})
    replayed = ask(sluice, key, **{**STREAM, **asked})
    again = ask(sluice, key, **{**WITH_USAGE, **asked})
    assert [cache_of(each) for each in (told, replayed, again)] == ["MISS", "HIT", "HIT"]
    assert b'"usage"' not in replayed.content
    assert again.content == told.content


def test_usage_that_only_another_client_asked_for_is_hidden(sluice: Sluice, upstream: Upstream):
    """Also where Sluice does not ask the provider for it."""
    key = key_of_project(sluice)
    model = f"silent-{next(serial)}"
    add_provider(sluice, upstream.url, model, {model: model}, options={"include_usage": False})
    upstream.script = chat_stream(usage=usage_of(11, 5))
    asked = {**question(), "model": model}
    assert b'"usage"' in ask(sluice, key, **{**WITH_USAGE, **asked}).content
    replayed = ask(sluice, key, **{**STREAM, **asked})
    assert cache_of(replayed) == "HIT"
    assert b'"usage"' not in replayed.content


def test_a_stream_without_usage_is_no_answer_for_who_wants_it(sluice: Sluice, upstream: Upstream, key: str):
    asked = question()
    upstream.answers(chat_stream(usage_shape="none"))
    upstream.answers(chat_stream(usage=usage_of(3, 4)))
    assert cache_of(ask(sluice, key, **{**STREAM, **asked})) == "MISS"
    second = ask(sluice, key, **{**WITH_USAGE, **asked})
    assert cache_of(second) == "MISS"
    assert b'"usage"' in second.content


@pytest.mark.parametrize(
    "path, body",
    [
        ("/v1/completions", {"model": "gpt-4.1-mini", "prompt": "Once"}),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "Once"}),
    ],
)
def test_other_endpoints(sluice: Sluice, upstream: Upstream, key: str, path: str, body: dict[str, Any]):
    content = json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    both = [ask(sluice, key, path=path, content=content, headers=headers) for _ in range(2)]
    assert [cache_of(each) for each in both] == ["MISS", "HIT"]
    assert both[0].content == both[1].content


CUT_OBJECT: Script = [
    Head(200, {"content-type": "application/json", "content-length": "100"}),
    Send(b'{"id": "x"'),
    Close(),
]
CUT_STREAM: Script = [stream_head(), *map(Chunk, chat_frames()[:2]), Close()]
POLITELY_CUT: Script = [stream_head(), *map(Chunk, chat_frames()[:2]), EndChunks()]
FAILED_STREAM: Script = [
    stream_head(),
    Chunk(b'data: {"error": {"message": "overloaded"}}\n\ndata: [DONE]\n\n'),
    EndChunks(),
]
NOT_STORED: dict[str, tuple[Script, dict[str, Any]]] = {
    "an error": (error_answer(500), {}),
    "a refusal": (error_answer(400), {}),
    "an error under 200": (json_answer({"error": {"message": "no"}}), {}),
    "a cut object": (CUT_OBJECT, {}),
    "a cut stream": (CUT_STREAM, {"stream": True}),
    "a stream that ends early": (POLITELY_CUT, {"stream": True}),
    "a stream with an error in it": (FAILED_STREAM, {"stream": True}),
    "no object": (body_answer(b"[1, 2]", content_type="application/json"), {}),
}


@pytest.mark.parametrize("what", NOT_STORED)
def test_what_is_not_whole_and_good_is_not_stored(sluice: Sluice, upstream: Upstream, key: str, what: str):
    script, more = NOT_STORED[what]
    asked = {**question(), **more}
    upstream.answers(script)
    ask(sluice, key, **asked)
    upstream.script = chat_stream() if more else chat_answer("good")
    second = ask(sluice, key, **asked)
    assert cache_of(second) == "MISS"
    assert len(upstream.requests) >= 2


def test_what_is_larger_than_an_object_may_be_is_not_stored(start_sluice: StartSluice, upstream: Upstream):
    server = start_sluice(HTTP_CACHE_DEFAULT_POLICY="on", HTTP_CACHE_MAX_OBJECT_BYTES=2000)
    key = server.mint()
    for size, seen in ((100, "HIT"), (3000, "MISS")):
        upstream.script = chat_answer("x" * size)
        asked = question()
        assert [cache_of(ask(server, key, **asked)) for _ in range(2)] == ["MISS", seen]


# --- for whom ----------------------------------------------------------------------------------------------


def test_no_other_project_is_answered(sluice: Sluice, upstream: Upstream, key: str):
    asked, other = question(), key_of_project(sluice)
    assert [cache_of(ask(sluice, each, **asked)) for each in (key, other, key, other)] == ["MISS", "MISS", "HIT", "HIT"]
    assert len(upstream.requests) == 2


def test_keys_of_one_project_share(sluice: Sluice, key: str):
    project = new_project(sluice, cache_policy="on")
    one, two = (minted(sluice, project=project)[1] for _ in range(2))
    asked = question()
    assert [cache_of(ask(sluice, each, **asked)) for each in (one, two)] == ["MISS", "HIT"]


def test_a_project_may_keep_each_key_apart(sluice: Sluice):
    project = new_project(sluice, cache_policy="on", cache_scope="key")
    one, two = (minted(sluice, project=project)[1] for _ in range(2))
    asked = question()
    assert [cache_of(ask(sluice, each, **asked)) for each in (one, two, two)] == ["MISS", "MISS", "HIT"]


def test_projects_that_share_share_with_each_other_alone(sluice: Sluice, key: str):
    one, two = (key_of_project(sluice, cache_scope="shared") for _ in range(2))
    asked = question()
    assert [cache_of(ask(sluice, each, **asked)) for each in (one, two, key)] == ["MISS", "HIT", "MISS"]


def test_a_revoked_key_is_refused_on_a_hit(sluice: Sluice):
    number, key = minted(sluice, project=new_project(sluice, cache_policy="on"))
    asked = question()
    assert [cache_of(ask(sluice, key, **asked)) for _ in range(2)] == ["MISS", "HIT"]
    assert sluice.api("POST", f"/api/keys/{number}/revoke/").status_code == 200
    assert processes.poll(lambda: ask(sluice, key, **asked).status_code == 401, timeout=10)


def test_limitsserial_hits(sluice: Sluice):
    key = minted(sluice, project=new_project(sluice, cache_policy="on"), rpm=2)[1]
    asked = question()
    assert [cache_of(ask(sluice, key, **asked)) for _ in range(2)] == ["MISS", "HIT"]
    assert ask(sluice, key, **asked).status_code == 429


# --- what a request says -----------------------------------------------------------------------------------


def test_by_default_a_request_asks_for_the_cache(sluice: Sluice, upstream: Upstream):
    key = minted(sluice, project=new_project(sluice))[1]
    asked = question()
    silent = ask(sluice, key, **asked)
    assert (cache_of(silent), "x-cache-key" in silent.headers) == ("BYPASS", False)
    assert [cache_of(ask(sluice, key, headers=OPT_IN, **asked)) for _ in range(2)] == ["MISS", "HIT"]
    assert cache_of(ask(sluice, key, headers={"cache-control": "public"}, **asked)) == "HIT"
    assert cache_of(ask(sluice, key, **asked)) == "BYPASS"
    assert len(upstream.requests) == 3
    assert all("cache-control" not in dict(each.headers) for each in upstream.requests)


def test_off_is_off(sluice: Sluice):
    key = key_of_project(sluice, cache_policy="off")
    asked = question()
    assert [cache_of(ask(sluice, key, headers=OPT_IN, **asked)) for _ in range(2)] == ["BYPASS", "BYPASS"]


def test_the_whole_cache_can_be_switched_off(start_sluice: StartSluice):
    server = start_sluice(HTTP_CACHE_ENABLED=False, HTTP_CACHE_DEFAULT_POLICY="on")
    key, asked = server.mint(), question()
    assert [cache_of(ask(server, key, headers=OPT_IN, **asked)) for _ in range(2)] == ["BYPASS", "BYPASS"]


def test_no_cache_asks_the_provider_and_stores_what_it_says(sluice: Sluice, upstream: Upstream, key: str):
    asked = question()
    ask(sluice, key, **asked)
    upstream.script = chat_answer("newer")
    fresh = ask(sluice, key, headers={"cache-control": "no-cache"}, **asked)
    assert cache_of(fresh) == "MISS"
    assert fresh.headers["cache-status"] == "Sluice; fwd=request"
    assert ask(sluice, key, **asked).content == fresh.content


LEFT_ALONE: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "no-store": ({"cache-control": "no-store"}, {}),
    "x-cache-skip": ({"x-cache-skip": "true"}, {}),
    "cache_skip": ({}, {"cache_skip": True}),
    "store": ({}, {"store": True}),
}


@pytest.mark.parametrize("how", LEFT_ALONE)
def test_the_cache_is_left_alone(sluice: Sluice, upstream: Upstream, key: str, how: str):
    headers, more = LEFT_ALONE[how]
    asked = question()
    assert [cache_of(ask(sluice, key, headers=headers, **asked, **more)) for _ in range(2)] == ["BYPASS", "BYPASS"]
    if how != "store":
        assert cache_of(ask(sluice, key, **asked)) == "MISS"  # and nothing was stored


def test_only_if_cached(sluice: Sluice, upstream: Upstream, key: str):
    asked, headers = question(), {"cache-control": "only-if-cached"}
    refused(ask(sluice, key, headers=headers, **asked), 504, "not_cached")
    assert not upstream.requests
    ask(sluice, key, **asked)
    assert cache_of(ask(sluice, key, headers=headers, **asked)) == "HIT"


def test_a_client_takes_nothing_older_than_it_says(sluice: Sluice, key: str):
    asked = question()
    ask(sluice, key, **asked)
    stored_at = time.time()
    while time.time() < stored_at + 2:  # an age is in whole seconds
        assert cache_of(ask(sluice, key, **asked)) == "HIT"
    assert cache_of(ask(sluice, key, headers={"cache-control": "max-age=1"}, **asked)) == "MISS"


def test_what_a_request_says_is_stored_no_longer_than_its_project_allows(sluice: Sluice):
    key = key_of_project(sluice, cache_ttl_s=50)
    for said, lasts in (("max-age=1000", 50), ("max-age=20", 20), ("public", 50)):
        asked = question()
        ask(sluice, key, headers={"cache-control": said}, **asked)
        ttl = int(ask(sluice, key, **asked).headers["cache-status"].rpartition("=")[2])
        assert lasts - 10 <= ttl <= lasts


def test_members_for_the_gateway_are_no_part_of_the_question_and_reach_no_provider(
    sluice: Sluice, upstream: Upstream, key: str
):
    asked = question()
    own: dict[str, Any] = {
        "request_id": "a",
        "nonce": 1,
        "__meta__": {"x": 1},
        "request_timestamp": 5,
        "cache_skip": False,
    }
    assert cache_of(ask(sluice, key, **asked, **own)) == "MISS"
    assert cache_of(ask(sluice, key, **asked, **{**own, "request_id": "b", "nonce": 2})) == "HIT"
    assert cache_of(ask(sluice, key, **asked)) == "HIT"
    (got,) = upstream.requests
    assert got.json() == {**CHAT, **asked}


def test_cache_skip_is_true_or_false(sluice: Sluice, key: str):
    refused(ask(sluice, key, cache_skip="yes"), 400, "invalid_type")


# --- the ledger ----------------------------------------------------------------------------------------------


def test_a_hit_costs_nothing_and_has_its_row(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = chat_answer("hi", usage=usage_of(1000, 1000))
    asked = question()
    miss, hit = (shown_row_of(sluice, ask(sluice, key, **asked)) for _ in range(2))
    assert (miss["cache"], miss["prompt_tokens"], float(miss["cost_usd"])) == ("MISS", 1000, 0.003)
    assert (hit["cache"], hit["prompt_tokens"], float(hit["cost_usd"])) == ("HIT", None, 0)
    assert (hit["attempts"], hit["provider"], hit["outcome"]) == (0, miss["provider"], "complete")
    assert (miss["ttft_ms"] is None, hit["ttft_ms"]) == (False, None)


def test_a_hit_gives_back_the_tokens_it_reserved(sluice: Sluice, upstream: Upstream):
    upstream.script = chat_answer("hi", usage=usage_of(10, 10))
    key = minted(sluice, project=new_project(sluice, cache_policy="on"), tpm=1000)[1]
    asked = {**question(), "max_tokens": 600}
    answers = [ask(sluice, key, **asked) for _ in range(5)]
    assert [cache_of(each) for each in answers] == ["MISS", *["HIT"] * 4]
    assert int(answers[-1].headers["x-ratelimit-limit-tokens"]) == 1000


def test_a_place_among_parallel_requests_is_given_back(sluice: Sluice):
    key = minted(sluice, project=new_project(sluice, cache_policy="on"), parallel=1)[1]
    asked = question()
    assert [cache_of(ask(sluice, key, **asked)) for _ in range(4)] == ["MISS", "HIT", "HIT", "HIT"]


def test_hits_and_misses_areserialed(sluice: Sluice, key: str):
    names = ("llm_proxy_cache_hits_total", "llm_proxy_cache_misses_total")
    before = [sluice.metrics().total(name) for name in names]
    asked = question()
    for _ in range(3):
        ask(sluice, key, **asked)
    assert [sluice.metrics().total(name) - was for name, was in zip(names, before, strict=True)] == [2, 1]


# --- SDKs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replay", ["at once", "timed"])
def test_the_sdk_reads_a_replay_as_it_reads_a_live_stream(start_sluice: StartSluice, replay: str):
    """With tool calls and reasoning, which the simulator makes."""
    server = start_sluice(simulated=True, HTTP_CACHE_DEFAULT_POLICY="on")
    client = server.openai(server.mint())
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    asked: dict[str, Any] = {
        "model": "simulator",
        "messages": [{"role": "user", "content": "What is the weather?"}],
        "tools": [tool],
        "tool_choice": "required",
        "extra_headers": {"x-cache-replay": replay},
    }

    def read() -> tuple[str, list[Any]]:
        with client.chat.completions.with_streaming_response.create(**asked, stream=True) as raw:
            return raw.headers["x-cache"], [event.model_dump() for event in raw.parse()]

    (first, live), (second, replayed) = read(), read()
    assert (first, second) == ("MISS", "HIT")
    assert replayed == live
    assert any(choice["delta"]["tool_calls"] for event in live for choice in event["choices"])
    plain = [client.chat.completions.create(**asked) for _ in range(2)]
    assert plain[0] == plain[1]
