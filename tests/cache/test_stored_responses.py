"""F80, P29, P30: answers of the Responses API are stored where they follow from the request alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cache.digest import digest_of
from proxy.endpoints import RESPONSES
from tests.kit.caching import cache_of, id_in, key_of_project, make_response, prompt, respond, serial
from tests.kit.ledger import shown_row_of
from tests.kit.providers import add_provider
from tests.kit.requests import JSON, ask, refused
from tests.kit.sdk import parameters_of
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Chunk,
    Close,
    Head,
    Script,
    Send,
    Upstream,
    error_answer,
    frame,
    json_answer,
    response_frames,
    response_object,
    response_usage,
    responses_answer,
    responses_stream,
    sse,
    stream_head,
)

pytestmark = [
    pytest.mark.server(prices={"gpt-4.1-mini": {"input": "1", "output": "2"}}),
    pytest.mark.key(project={"cache_policy": "on"}),
]

STREAM = {"stream": True}
FORMS = pytest.mark.parametrize("form", [{}, STREAM], ids=["plain", "stream"])


# --- what is stored ----------------------------------------------------------------------------------------


@FORMS
def test_all_hits_are_like_the_answer_itself(sluice: Sluice, upstream: Upstream, key: str, form: dict[str, Any]):
    upstream.script = make_response
    asked = {**prompt(), **form}
    first, *hits = [respond(sluice, key, **asked) for _ in range(4)]
    assert [cache_of(answer) for answer in (first, *hits)] == ["MISS", "HIT", "HIT", "HIT"]
    assert {answer.content for answer in hits} == {first.content}
    assert {answer.headers["content-type"] for answer in hits} == {first.headers["content-type"]}
    assert len(upstream.requests) == 1


@FORMS
def test_a_hit_costs_nothing_and_has_its_row(sluice: Sluice, upstream: Upstream, key: str, form: dict[str, Any]):
    usage = response_usage(1000, 500)
    upstream.script = responses_stream(usage=usage) if form else responses_answer(usage=usage)
    asked = {**prompt(), **form}
    miss, *hits = (shown_row_of(sluice, respond(sluice, key, **asked)) for _ in range(3))
    assert (miss["cache"], miss["prompt_tokens"], float(miss["cost_usd"])) == ("MISS", 1000, 0.002)
    for hit in hits:
        assert (hit["cache"], hit["prompt_tokens"], float(hit["cost_usd"])) == ("HIT", None, 0)
        assert (hit["attempts"], hit["response_id"]) == (0, miss["response_id"])


def test_a_stream_whose_provider_counts_nothing_is_replayed(sluice: Sluice, upstream: Upstream, key: str):
    """A client of this API cannot ask for the usage of a stream, so every client takes one without it."""
    counted = json.dumps(response_usage(), separators=(",", ":")).encode()
    frames = [each.replace(counted, b"null") for each in response_frames()]
    assert b'"usage":null' in frames[-1]
    upstream.script = sse(frames)
    asked = {**prompt(), **STREAM}
    assert [cache_of(respond(sluice, key, **asked)) for _ in range(2)] == ["MISS", "HIT"]
    assert respond(sluice, key, input=asked["input"]).json()["usage"] is None


@FORMS
def test_the_clients_own_name_for_the_model_is_in_every_hit(sluice: Sluice, upstream: Upstream, form: dict[str, Any]):
    name = f"fast-{next(serial)}"
    add_provider(sluice, upstream.url, name, {name: "gpt-4.1-mini"})
    asked = {**prompt(), "model": name, **form}
    key = key_of_project(sluice)
    answers = [respond(sluice, key, **asked) for _ in range(3)]
    assert [cache_of(answer) for answer in answers] == ["MISS", "HIT", "HIT"]
    assert all(name in answer.text and '"gpt-4.1-mini"' not in answer.text for answer in answers)


def ended(status: str, **members: Any) -> dict[str, Any]:
    return {**response_object("some"), "status": status, **members}


def in_a_stream(response: dict[str, Any]) -> Script:
    kind = f"response.{response['status']}"
    return sse([*response_frames()[:6], frame({"type": kind, "response": response, "sequence_number": 6}, kind)])


TOO_LONG = {"incomplete_details": {"reason": "max_output_tokens"}}
FILTERED = {"incomplete_details": {"reason": "content_filter"}}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    "response, second",
    [
        (ended("incomplete", **TOO_LONG), "HIT"),
        (ended("incomplete", **FILTERED), "MISS"),
        (ended("incomplete"), "MISS"),
        (ended("cancelled"), "MISS"),
        (ended("failed", error={"code": "server_error", "message": "no"}), "MISS"),
        (ended("queued"), "MISS"),
        (ended("in_progress"), "MISS"),
        (ended("of another kind"), "MISS"),
    ],
    ids=["too long", "filtered", "incomplete", "cancelled", "failed", "queued", "in progress", "unknown"],
)
def test_what_may_end_otherwise_next_time_is_not_stored(
    sluice: Sluice, upstream: Upstream, key: str, response: dict[str, Any], second: str, streams: bool
):
    upstream.answers(in_a_stream(response) if streams else json_answer(response))
    upstream.answers(responses_stream() if streams else responses_answer())
    asked = {**prompt(), "stream": streams}
    assert [respond(sluice, key, **asked).headers["x-cache"] for _ in range(2)] == ["MISS", second]


ERROR_EVENT = frame({"type": "error", "code": "server_error", "message": "no", "sequence_number": 2}, "error")
CUT_OBJECT: Script = [
    Head(200, {"content-type": "application/json", "content-length": "100"}),
    Send(b'{"id": "x"'),
    Close(),
]
NOT_WHOLE: dict[str, tuple[Script, dict[str, Any]]] = {
    "an error": (error_answer(500), {}),
    "an error under 200": (json_answer({**response_object("x"), "error": {"message": "no"}}), {}),
    "a cut object": (CUT_OBJECT, {}),
    "a cut stream": ([stream_head(), *map(Chunk, response_frames()[:6]), Close()], STREAM),
    "a stream that ends early": (sse(response_frames()[:-1]), STREAM),
    "a stream with an error": (sse([*response_frames()[:2], ERROR_EVENT]), STREAM),
}


@pytest.mark.parametrize("what", NOT_WHOLE)
def test_what_is_not_whole_is_not_stored(sluice: Sluice, upstream: Upstream, key: str, what: str):
    script, form = NOT_WHOLE[what]
    upstream.answers(script)
    upstream.answers(responses_stream() if form else responses_answer())
    asked = {**prompt(), **form}
    respond(sluice, key, **asked)
    assert cache_of(respond(sluice, key, **asked)) == "MISS"


# --- what a request says ------------------------------------------------------------------------------------

MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
SAYS_ALL: dict[str, list[dict[str, Any]]] = {
    "messages": [{"role": "user", "content": "a"}, {**MESSAGE, "content": [{"type": "output_text", "text": "b"}]}],
    "calls": [
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "1"},
    ],
    "its reasoning": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}],
    "open reasoning": [
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    ],
}


@pytest.mark.parametrize("what", SAYS_ALL)
def test_an_input_that_says_all_itself_is_cached(sluice: Sluice, upstream: Upstream, key: str, what: str):
    asked: dict[str, Any] = {"input": [*SAYS_ALL[what], {"role": "user", "content": prompt()["input"]}]}
    assert [cache_of(respond(sluice, key, **asked)) for _ in range(2)] == ["MISS", "HIT"]


def with_item(**item: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": "hi"}, item]}


def with_tool(**tool: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "name": "f", "parameters": {}}, tool]}


LEFT_ALONE: dict[str, dict[str, Any]] = {
    "store": {"store": True},
    "an odd store": {"store": 1},
    "background": {"background": True},
    "a stored prompt": {"prompt": {"id": "pmpt_1"}},
    "an item by its id": with_item(type="item_reference", id="msg_1"),
    "an item by its id alone": with_item(id="msg_1"),
    "an item of no type": with_item(type=None, id="msg_1"),
    "reasoning by its id": with_item(type="reasoning", id="rs_1", summary=[]),
    "a call that the provider made": with_item(type="code_interpreter_call", id="ci_1", code="1"),
    "an item of an unknown type": with_item(type="hologram", text="x"),
    "an item of an odd type": with_item(type=["message"], content="x"),
    "an input of another shape": {"input": {"a": 1}},
    "an item by its id in the instructions": {"instructions": [{"type": "item_reference", "id": "msg_1"}]},
    "a server of tools": with_tool(type="mcp", server_label="x", server_url="http://127.0.0.1:9/"),
    "a container": with_tool(type="code_interpreter", container={"type": "auto"}),
    "an unknown tool": with_tool(type="hologram"),
    "an unknown member": {"hologram": 1},
    "a member in other letters": {"Background": True},
}


@pytest.mark.parametrize("what", LEFT_ALONE)
def test_what_depends_on_more_than_the_request_is_not_cached(sluice: Sluice, upstream: Upstream, key: str, what: str):
    asked = {**prompt(), **LEFT_ALONE[what]}
    assert [respond(sluice, key, **asked).headers["x-cache"] for _ in range(2)] == ["BYPASS", "BYPASS"]
    assert len(upstream.requests) == 2


NAMED: dict[str, dict[str, Any]] = {
    "a file": {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-none"}]}]},
    "a vector store": with_tool(type="file_search", vector_store_ids=["vs_none"]),
    "a response": {"previous_response_id": "resp_none"},
    "a conversation": {"conversation": {"id": "conv_none"}},
}


@pytest.mark.parametrize("what", NAMED)
def test_an_object_that_is_not_there_is_looked_for_each_time(sluice: Sluice, upstream: Upstream, key: str, what: str):
    asked = {**prompt(), **NAMED[what]}
    for _ in range(2):
        answer = respond(sluice, key, **asked)
        assert (answer.status_code, answer.headers["x-cache"]) == (404, "BYPASS")


def test_a_file_whose_name_is_written_with_escapes_is_looked_for(sluice: Sluice, upstream: Upstream, key: str):
    part = rb'{"type":"input_file","f\u0069le_id":"file-none"}'
    content = b'{"model":"gpt-4.1-mini","input":[{"role":"user","content":[%s]}]}' % part
    answer = ask(sluice, key, path="/v1/responses", content=content, headers=JSON)
    assert (answer.status_code, answer.headers["x-cache"]) == (404, "BYPASS")


def test_who_goes_on_with_a_response_is_answered_by_its_provider(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = make_response
    before = id_in(respond(sluice, key, **prompt()))
    asked = {**prompt(), "previous_response_id": before}
    answers = [respond(sluice, key, **asked) for _ in range(2)]
    assert [cache_of(answer) for answer in answers] == ["BYPASS", "BYPASS"]
    assert len({id_in(answer) for answer in answers}) == 2


@pytest.mark.parametrize("nothing", [None, "", False])
def test_a_member_that_says_nothing_is_no_hindrance(sluice: Sluice, upstream: Upstream, key: str, nothing: Any):
    name = "background" if nothing is False else "previous_response_id"
    asked = {**prompt(), name: nothing, "store": None}
    assert [cache_of(respond(sluice, key, **asked)) for _ in range(2)] == ["MISS", "HIT"]


def test_only_if_cached_is_refused_where_nothing_is_cached(sluice: Sluice, upstream: Upstream, key: str):
    headers = {"cache-control": "only-if-cached"}
    refused(respond(sluice, key, headers=headers, store=True, **prompt()), 504, "not_cached")
    assert not upstream.requests


MUTATIONS: dict[str, Any] = {
    "model": "gpt-4.1",
    "instructions": "Be brief.",
    "temperature": 0.5,
    "top_p": 0.9,
    "max_output_tokens": 50,
    "max_tool_calls": 2,
    "metadata": {"a": "b"},
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_object"}},
    "tools": [{"type": "function", "name": "f", "parameters": {}}],
    "tool_choice": "none",
    "parallel_tool_calls": False,
    "include": ["reasoning.encrypted_content"],
    "truncation": "auto",
    "top_logprobs": 3,
    "user": "somebody",
    "safety_identifier": "somebody",
    "service_tier": "flex",
    "store": False,
    "prompt_cache_key": "x",
    "input": [{"role": "user", "content": "hi"}],
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_member_of_a_body_counts(sluice: Sluice, upstream: Upstream, key: str, name: str):
    asked = prompt()
    assert cache_of(respond(sluice, key, **asked)) == "MISS"
    assert cache_of(respond(sluice, key, **{**asked, name: MUTATIONS[name]})) == "MISS"
    assert cache_of(respond(sluice, key, **asked)) == "HIT"


def test_every_parameter_of_the_sdk_counts():
    from openai.types.responses import response_create_params as params

    every = parameters_of(params.ResponseCreateParamsBase)
    assert len(every) > 25

    def name_of(body: dict[str, Any]) -> str:
        return digest_of(b"project 1", RESPONSES.label, b"", b"", json.dumps(body).encode())

    names = {name_of({"stream": True, **{key: value for key, value in every.items() if key != left}}) for left in every}
    names.add(name_of(every))
    assert len(names) == len(every) + 1 - ("stream_options" in every)  # how an answer comes is no part of the question


def test_a_project_may_switch_it_off(sluice: Sluice, upstream: Upstream):
    key = key_of_project(sluice, cache_policy="off")
    asked = prompt()
    assert [cache_of(respond(sluice, key, **asked)) for _ in range(2)] == ["BYPASS", "BYPASS"]
