"""P24: what Sluice does not know survives, both ways, to the byte."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx
import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params

from tests.kit.clients import client_of
from tests.kit.requests import CHAT, STREAM, WITH_USAGE
from tests.kit.sdk import parameters_of
from tests.kit.sluice import Sluice
from tests.kit.upstream import Chunk, EndChunks, Upstream, body_answer, chat_frames, frame, stream_head

STREAMING = {"stream": True, "stream_options": {"include_usage": True}}
ENDPOINTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": parameters_of(
        chat_create_params.CompletionCreateParamsNonStreaming, chat_create_params.CompletionCreateParamsStreaming
    ),
    "/v1/completions": parameters_of(
        completion_create_params.CompletionCreateParamsNonStreaming,
        completion_create_params.CompletionCreateParamsStreaming,
    ),
    "/v1/responses": parameters_of(
        response_create_params.ResponseCreateParamsNonStreaming, response_create_params.ResponseCreateParamsStreaming
    ),
    "/v1/embeddings": parameters_of(embedding_create_params.EmbeddingCreateParams),
}
STORED = "resp_upstream"
"""What the provider's answers are called: a request may go on with one that its project has made."""

ENDPOINTS["/v1/responses"]["previous_response_id"] = STORED
PAIRS = [(path, name) for path, known in ENDPOINTS.items() for name in known]

ODD_NUMBERS = b"1.0, 1e5, 1E-7, -0.0, 123456789012345678901234567890, 0.1000000000000000055511151231257827"
ODD_STRINGS = rb'"\u00e9\ud83d\ude00\/\u0000", "' + "é\u2028😀\x7f".encode() + b'"'
ODD = b'{"a" : [ ' + ODD_NUMBERS + b' ],\n\t"b":[' + ODD_STRINGS + b'],"":{"":null},"c":{"d":1,"d":2}}'


@pytest.fixture(scope="module", autouse=True)
def _stored(sluice: Sluice) -> None:
    made = client_of(sluice).post("/v1/responses", json={"model": "gpt-4.1-mini", "input": "hi"})
    assert made.json()["id"] == STORED


def as_some_write_it(fields: dict[str, Any], seed: int = 0) -> bytes:
    """JSON with white space anywhere, escapes, and members in any order."""
    order = list(fields.items())
    random.Random(seed).shuffle(order)
    layouts: list[dict[str, Any]] = [
        {"separators": (",", ":")},
        {"separators": (" , ", "  : ")},
        {"indent": 2},
        {"ensure_ascii": False},
        {"indent": "\t", "ensure_ascii": False},
    ]
    text = json.dumps(dict(order), **layouts[seed % len(layouts)])
    return f" \r\n{text}\n".encode() if seed % 2 else text.encode()


def post(sluice: Sluice, path: str, body: bytes) -> httpx.Response:
    answer = client_of(sluice).post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("path", ENDPOINTS)
def test_the_sdks_parameters_are_many(path: str):
    """Else the tests below would pass for want of parameters."""
    assert {"model", "user"} <= set(ENDPOINTS[path])
    assert len(ENDPOINTS[path]) >= (5 if path == "/v1/embeddings" else 17)


@pytest.mark.parametrize("path, name", PAIRS)
def test_each_parameter_of_the_sdk_goes_up_as_it_was_written(sluice: Sluice, upstream: Upstream, path: str, name: str):
    fields = {"model": "gpt-4.1-mini", name: ENDPOINTS[path][name]}
    if fields.get("stream"):
        fields |= STREAMING
    for seed in range(5):
        body = as_some_write_it(fields, seed)
        post(sluice, path, body)
        assert upstream.last.body == body


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("seed", range(5))
def test_all_parameters_together_go_up_as_they_were_written(sluice: Sluice, upstream: Upstream, path: str, seed: int):
    body = as_some_write_it({**ENDPOINTS[path], **STREAMING, "never_heard_of": {"x": [1.0]}}, seed)
    post(sluice, path, body)
    assert upstream.last.body == body
    assert upstream.last.header("content-length") == str(len(body))


@pytest.mark.parametrize("path", ENDPOINTS)
def test_odd_numbers_and_strings_go_up_as_they_were_written(sluice: Sluice, upstream: Upstream, path: str):
    body = b'\n{ "model" :"gpt-4.1-mini","odd": ' + ODD + b"}\n"
    post(sluice, path, body)
    assert upstream.last.body == body


def test_odd_values_survive_where_the_body_has_to_be_edited(sluice: Sluice, upstream: Upstream):
    """Asking for the stream's usage adds a member; the others stay as they are, digit for digit."""
    post(sluice, "/v1/chat/completions", b'{"odd": ' + ODD + b' , "stream":true,"model":"gpt-4.1-mini"}')
    body = upstream.last.body
    assert b'"odd":' + ODD in body
    assert body.endswith(b',"stream":true,"model":"gpt-4.1-mini","stream_options":{"include_usage":true}}')


@pytest.mark.parametrize("value", [rb'"\ud800"', b"1e400", b"-1e999"])
def test_what_json_allows_and_few_can_hold_passes_too(sluice: Sluice, upstream: Upstream, value: bytes):
    """RFC 8259 allows both; JavaScript's `JSON.stringify` writes the first for half an emoji."""
    body = b'{"model":"gpt-4.1-mini","odd":' + value + b"}"
    upstream.answers(body_answer(b'{"id":"x","odd":' + value + b"}", content_type="application/json"))
    answer = post(sluice, "/v1/chat/completions", body)
    assert upstream.last.body == body
    assert answer.content == b'{"id":"x","odd":' + value + b"}"


@pytest.mark.parametrize("value", [rb'"\ud800"', b"1e400"])
def test_a_chunk_with_such_a_value_is_no_malformed_one(sluice: Sluice, upstream: Upstream, value: bytes):
    """A model that is cut within an emoji makes such chunks."""
    odd = b'data: {"choices":[{"index":0,"delta":{"content":"a","odd":' + value + b'},"finish_reason":null}]}\n\n'
    upstream.answers([stream_head(), *map(Chunk, [odd, *chat_frames()]), EndChunks()])
    answer = post(sluice, "/v1/chat/completions", json.dumps(WITH_USAGE).encode())
    assert answer.content == odd + b"".join(chat_frames())


def test_a_large_body_keeps_its_values(sluice: Sluice, upstream: Upstream):
    body = b'{"model": "gpt-4.1-mini", "messages": [], "odd": ' + ODD + b', "long": "' + b"x" * 2_000_000 + b'"}'
    post(sluice, "/v1/chat/completions", body)
    assert ODD in upstream.last.body
    assert upstream.last.body.replace(b" ", b"") == body.replace(b" ", b"")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_unknown_fields_of_an_answer_come_down_as_they_were_written(sluice: Sluice, upstream: Upstream, path: str):
    answer = b' {"id":"x",\n"odd" :' + ODD + b',"model":"gpt-4.1-mini" , "usage":{"new_tokens":1.50}}\n'
    upstream.answers(body_answer(answer, content_type="application/json; x=1", headers={"x-new": "é"}))
    got = post(sluice, path, json.dumps(CHAT).encode())
    assert got.content == answer
    assert got.headers["content-type"] == "application/json; x=1"
    assert got.headers["x-new"] == "é"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_unknown_events_of_a_stream_come_down_as_they_were_written(sluice: Sluice, upstream: Upstream, path: str):
    odd = b"event: response.never_heard_of\ndata: " + ODD.replace(b"\n", b" ") + b"\n\n"
    stream = [odd, frame({"choices": [{"index": 0, "delta": {"new": [1.0]}, "finish_reason": "new"}]}), odd]
    upstream.answers([stream_head(), *map(Chunk, stream), EndChunks()])
    assert post(sluice, path, json.dumps(WITH_USAGE).encode()).content == b"".join(stream)


def test_shapes_that_no_specification_has_are_the_clients_to_understand(sluice: Sluice, upstream: Upstream):
    chunks = [{"choices": "none"}, {"choices": [{"delta": {"content": [{"type": "x"}]}}]}, {"id": 7}, {"choices": [3]}]
    stream = [*map(frame, chunks), *chat_frames()]
    upstream.answers([stream_head(), *map(Chunk, stream), EndChunks()])
    assert post(sluice, "/v1/chat/completions", json.dumps(WITH_USAGE).encode()).content == b"".join(stream)


@pytest.mark.parametrize("given", [{}, {"model": "auto"}, {"model": ""}, {"model": None}], ids=str)
def test_the_preferred_models_header_chooses_where_the_body_does_not(sluice: Sluice, upstream: Upstream, given: dict):
    body = {**{name: value for name, value in STREAM.items() if name != "model"}, **given}
    headers = {"x-preferred-model": "gpt-4.1"}
    answer = client_of(sluice).post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200
    assert upstream.last.json()["model"] == "gpt-4.1"
    assert upstream.last.header("x-preferred-model") is None


def test_the_preferred_models_header_does_not_overrule_the_body(sluice: Sluice, upstream: Upstream):
    client_of(sluice).post("/v1/chat/completions", json=CHAT, headers={"x-preferred-model": "gpt-4.1"})
    assert upstream.last.json()["model"] == CHAT["model"]


def test_no_model_at_all_is_refused(sluice: Sluice, upstream: Upstream):
    answer = client_of(sluice).post("/v1/chat/completions", json={"messages": []})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    assert upstream.requests == []
