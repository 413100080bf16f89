"""X4: plain answers that are too long to be read on the event loop, such as the vectors of many texts."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from proxy.heavy.jobs import HEAVY_BYTES
from tests.kit.clients import client_of, named, new_id
from tests.kit.ledger import row_of
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, body_answer, chat_answer
from tests.kit.wire import connect, request_bytes

pytestmark = pytest.mark.server(models={"mine": "theirs"})

MODEL = "text-embedding-3-small"
EMBEDDINGS = {"model": MODEL, "input": ["a text"]}
VECTOR = b'{"object":"embedding","index":0,"embedding":[' + b",".join([b"-0.0123456789"] * 1536) + b"]}"
VECTORS = b'"data":[' + b",".join([VECTOR] * (4 * HEAVY_BYTES // len(VECTOR))) + b"]"
USAGE = b'"usage":{"prompt_tokens":7,"total_tokens":7}'
JSON = "application/json"


def answer_of(model: str = MODEL, *more: bytes) -> bytes:
    return b'{ "object":"list",%s, "model":"%s",%s}' % (VECTORS, model.encode(), b",".join((USAGE, *more)))


def answer_and_row(sluice: Sluice, body: dict[str, Any], path: str = "/v1/embeddings") -> tuple[Any, dict[str, Any]]:
    call = new_id()
    answer = client_of(sluice).post(path, json=body, headers=named(call))
    return answer, row_of(sluice, call)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_vectors_go_on_as_they_came(sluice: Sluice, upstream: Upstream, packed: bool):
    whole = answer_of()
    headers = [("content-encoding", "gzip")] if packed else []
    upstream.answers(body_answer(gzip.compress(whole, 1) if packed else whole, 200, headers, content_type=JSON))
    answer, row = answer_and_row(sluice, EMBEDDINGS)
    assert answer.content == whole
    assert (row["outcome"], row["prompt_tokens"], row["usage_source"]) == ("complete", 7, "provider")
    assert row["cost_picousd"] > 0


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_the_clients_name_for_the_model_is_put_back(sluice: Sluice, upstream: Upstream, packed: bool):
    whole = answer_of("theirs")
    headers = [("content-encoding", "gzip")] if packed else []
    upstream.answers(body_answer(gzip.compress(whole, 1) if packed else whole, 200, headers, content_type=JSON))
    answer, row = answer_and_row(sluice, {**EMBEDDINGS, "model": "mine"})
    assert answer.content == answer_of("mine")
    assert (row["model"], row["model_served"], row["prompt_tokens"]) == ("mine", "theirs", 7)


def test_vectors_without_a_count_are_estimated(sluice: Sluice, upstream: Upstream):
    whole = b"{" + VECTORS + b"}"
    upstream.answers(body_answer(whole, content_type=JSON))
    answer, row = answer_and_row(sluice, EMBEDDINGS)
    assert answer.content == whole
    assert (row["completion_tokens"], row["usage_source"]) == (0, "estimated")
    assert row["prompt_tokens"] > 0


def test_vectors_with_what_is_no_number_go_on(sluice: Sluice, upstream: Upstream):
    whole = answer_of(MODEL, b'"least":NaN')
    upstream.answers(body_answer(whole, content_type=JSON))
    answer, row = answer_and_row(sluice, EMBEDDINGS)
    assert answer.content == whole
    assert row["prompt_tokens"] == 7


@pytest.mark.parametrize("whole", [answer_of()[:-1], b"[" + answer_of() + b"]"], ids=["cut off", "a list"])
def test_what_is_no_object_is_no_answer(sluice: Sluice, upstream: Upstream, whole: bytes):
    upstream.answers(body_answer(whole, content_type=JSON))
    answer, row = answer_and_row(sluice, EMBEDDINGS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_invalid_response")
    assert row["outcome"] == "upstream_error"


def test_a_long_chat_is_counted_and_estimated_as_a_short_one(sluice: Sluice, upstream: Upstream):
    chat = {"model": "gpt-4.1-mini", "messages": []}
    text = "wörd " * (HEAVY_BYTES // 4)
    upstream.answers(chat_answer(text))
    answer, row = answer_and_row(sluice, chat, "/v1/chat/completions")
    assert answer.json()["choices"][0]["message"]["content"] == text
    assert (row["completion_tokens"], row["usage_source"], row["response_id"]) == (1, "provider", "chatcmpl-upstream")
    untold = json.loads(answer.content)
    del untold["usage"]
    upstream.answers(body_answer(json.dumps(untold).encode(), content_type=JSON))
    answer, row = answer_and_row(sluice, chat, "/v1/chat/completions")
    assert (row["completion_tokens"], row["usage_source"]) == (-(-len(text.encode()) // 4), "estimated")


def test_pictures_are_counted(sluice: Sluice, upstream: Upstream):
    whole = b'{"created":1,"data":[' + b",".join([b'{"b64_json":"%s"}' % (b"QUJD" * HEAVY_BYTES)] * 2) + b"]}"
    upstream.answers(body_answer(whole, content_type=JSON))
    answer, row = answer_and_row(sluice, {"model": "dall-e-3", "prompt": "a cat"}, "/v1/images/generations")
    assert answer.content == whole
    assert row["outcome"] == "complete"


def test_who_leaves_a_long_answer_is_charged_for_it(sluice: Sluice, upstream: Upstream):
    call = new_id()
    upstream.answers(body_answer(answer_of(), content_type=JSON))
    with connect(sluice, receive_buffer=4096) as peer:
        headers = {"path": "/v1/embeddings", "x_correlation_id": call}
        peer.sendall(request_bytes(sluice, EMBEDDINGS, **headers))
        assert peer.recv(100)
    row = row_of(sluice, call)
    assert row["prompt_tokens"] == 7
    assert row["cost_picousd"] > 0
