"""P9, F106: an answer that the provider breaks off, spoils or is too slow with has its row, exact in outcome, error,
tokens and cost."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any

import pytest

from tests.kit.accounts import new_crew
from tests.kit.breaking import (
    BEGUN,
    CHAT,
    CHAT_PATH,
    COUNTED,
    HALF,
    HALF_RESPONSE,
    JSON_HEAD,
    LIMITS,
    MESSAGES,
    MODEL,
    NOTHING,
    PING,
    PRICE,
    PROMPT,
    RESPONSES,
    RESPONSES_PATH,
    STREAM,
    Charged,
    acts,
    check_charged,
    chunk,
    estimated,
)
from tests.kit.ledger import rows_of, totals_of
from tests.kit.management import set_price
from tests.kit.sluice import Sluice
from tests.kit.spending import post
from tests.kit.upstream import (
    NEVER,
    Chunk,
    Close,
    EndChunks,
    Reset,
    Script,
    Send,
    Upstream,
    body_answer,
    chat_answer,
    chat_stream,
    error_answer,
    frame,
    stream_head,
    usage_of,
)
from tests.kit.wire import answer_on, connect, request_bytes

pytestmark = pytest.mark.server(
    prices={MODEL: PRICE}, TTFT_TIMEOUT_SECS=2, STREAM_IDLE_TIMEOUT_SECS=2, REQUEST_TIMEOUT_SECS=3
)

ERROR = Chunk(frame({"error": {"message": "overloaded", "type": "server_error", "param": None, "code": None}}))
FAILED: dict[str, Any] = {
    "type": "response.failed",
    "response": {"id": "r", "status": "failed", "output": [], "usage": None},
}
RESPONSE_ERROR = {"type": "error", "code": "server_error", "message": "overloaded", "param": None}

PROMPT_OF_BOTH = -(-len(json.dumps(MESSAGES) + json.dumps("hello")) // 4)
"""`post` sends a chat's messages beside what it is given."""


# Path, body, what the provider does, the row's status and error, the charge.
FAILING: dict[str, tuple[str, dict[str, Any], Script, int, str, Charged]] = {
    "its refusal": (CHAT_PATH, CHAT, error_answer(400), 400, "upstream_400", NOTHING),
    "its 429": (CHAT_PATH, CHAT, error_answer(429), 429, "upstream_429", NOTHING),
    "its 500": (CHAT_PATH, STREAM, error_answer(500), 500, "upstream_500", NOTHING),
    "a refusal that tells a usage": (
        *(CHAT_PATH, CHAT),
        body_answer(b'{"error": {}, "usage": {"prompt_tokens": 9}}', 500, content_type="application/json"),
        *(500, "upstream_500", NOTHING),
    ),
    "no first byte in time": (CHAT_PATH, CHAT, [NEVER], 504, "ttft_timeout", NOTHING),
    "no first byte of a stream in time": (CHAT_PATH, STREAM, [NEVER], 504, "ttft_timeout", NOTHING),
    "no head in time": (CHAT_PATH, STREAM, [NEVER], 504, "ttft_timeout", NOTHING),
    "no first frame in time": (CHAT_PATH, STREAM, [stream_head(), NEVER], 200, "ttft_timeout", NOTHING),
    "no whole answer in time": (
        *(CHAT_PATH, CHAT, acts(JSON_HEAD, Send(b'{"choices":[{"message":{"content":"abcd'), NEVER)),
        *(504, "upstream_timeout", NOTHING),
    ),
    "a head that is cut": (
        *(CHAT_PATH, CHAT, acts(Send(b"HTTP/1.1 200 OK\r\n"), Reset())),
        *(502, "upstream_disconnected", NOTHING),
    ),
    "a plain answer that is cut": (
        *(CHAT_PATH, CHAT, acts(JSON_HEAD, Send(b'{"choices":[{"message":{"content":"abcd'), Reset())),
        *(502, "upstream_disconnected", NOTHING),
    ),
    "a plain answer that is none": (
        *(CHAT_PATH, CHAT, body_answer(b"<html>", content_type="application/json")),
        *(502, "upstream_invalid_response", NOTHING),
    ),
    "a stream that is reset": (
        *(CHAT_PATH, STREAM, [*HALF, Reset()]),
        *(200, "upstream_disconnected", estimated(PROMPT, 3)),
    ),
    "a stream that is closed": (
        *(CHAT_PATH, STREAM, [*HALF, Close()]),
        *(200, "upstream_disconnected", estimated(PROMPT, 3)),
    ),
    "a stream that ends too soon": (
        *(CHAT_PATH, STREAM, [*HALF, EndChunks()]),
        *(200, "upstream_incomplete", estimated(PROMPT, 3)),
    ),
    "a stream that stalls": (CHAT_PATH, STREAM, [*HALF, NEVER], 200, "upstream_idle_timeout", estimated(PROMPT, 3)),
    "a stream that stalls before its first token": (
        *(CHAT_PATH, STREAM, [*BEGUN, NEVER]),
        *(200, "upstream_idle_timeout", estimated(PROMPT, 0)),
    ),
    "a stream that stalls before anything": (
        *(CHAT_PATH, STREAM, acts(stream_head(), PING, NEVER)),
        *(200, "upstream_idle_timeout", NOTHING),
    ),
    "a stream with a malformed chunk": (
        *(CHAT_PATH, STREAM, [*HALF, Chunk(b'data: {"choices":\n\n'), *HALF[2:], EndChunks()]),
        *(200, "upstream_malformed", estimated(PROMPT, 3)),
    ),
    "a stream that was counted and then cut": (
        *(CHAT_PATH, STREAM, [*COUNTED, Reset()]),
        *(200, "upstream_disconnected", Charged(20, 6, "provider")),
    ),
    "a stream that was counted in part and then cut": (
        *(CHAT_PATH, STREAM, [*COUNTED, chunk("efghefgh"), Reset()]),
        *(200, "upstream_disconnected", estimated(20, 8)),
    ),
    "a stream with an error in it": (
        *(CHAT_PATH, STREAM, [*HALF, ERROR, EndChunks()]),
        *(200, "upstream_stream_error", estimated(PROMPT, 3)),
    ),
    "a stream that is an error": (
        *(CHAT_PATH, STREAM, acts(stream_head(), ERROR, EndChunks())),
        *(200, "upstream_stream_error", NOTHING),
    ),
    "a response that failed": (
        *(RESPONSES_PATH, RESPONSES, [*HALF_RESPONSE, Chunk(frame(FAILED, FAILED["type"])), EndChunks()]),
        *(200, "upstream_stream_error", estimated(PROMPT_OF_BOTH, 3)),
    ),
    "a response that failed before anything": (
        *(RESPONSES_PATH, RESPONSES, [*HALF_RESPONSE[:2], Chunk(frame(FAILED, FAILED["type"])), EndChunks()]),
        *(200, "upstream_stream_error", NOTHING),
    ),
    "a response with an error in it": (
        *(RESPONSES_PATH, RESPONSES, [*HALF_RESPONSE, Chunk(frame(RESPONSE_ERROR, "error")), EndChunks()]),
        *(200, "upstream_stream_error", estimated(PROMPT_OF_BOTH, 3)),
    ),
    "a response that is cut": (
        *(RESPONSES_PATH, RESPONSES, [*HALF_RESPONSE, Reset()]),
        *(200, "upstream_disconnected", estimated(PROMPT_OF_BOTH, 3)),
    ),
}


@pytest.mark.parametrize("what", FAILING)
def test_the_row_says_what_happened_and_what_it_cost(server: Sluice, upstream: Upstream, what: str):
    path, body, script, status, error, charged = FAILING[what]
    crew = new_crew(server, key=LIMITS)
    upstream.answers(script)
    with contextlib.suppress(OSError, http.client.HTTPException):  # some answers break off
        post(server, crew.token, path=path, **body)
    assert len(upstream.requests) == 1
    told = {"outcome": "upstream_error", "error": error, "status_code": status, "attempts": 1, "provider": "openai"}
    check_charged(server, upstream, crew, charged, **told)


def test_a_missing_done_is_no_failure_and_costs_what_the_provider_says(server: Sluice, upstream: Upstream):
    crew = new_crew(server, key=LIMITS)
    upstream.answers(chat_stream(usage=usage_of(20, 6), include_done=False))
    assert post(server, crew.token, **STREAM).status == 200
    told = {"outcome": "complete", "error": "", "status_code": 200, "attempts": 1}
    check_charged(server, upstream, crew, Charged(20, 6, "provider"), **told)


def test_a_refused_request_costs_nothing_and_asks_nobody(server: Sluice, upstream: Upstream):
    crew = new_crew(server, key={**LIMITS, "allowed_models": ["other"]})
    assert post(server, crew.token, **CHAT).status == 403
    told = {"outcome": "refused", "error": "model_not_allowed", "status_code": 403, "attempts": 0, "provider": ""}
    row = rows_of(server, crew, 1)[0]
    assert {name: row[name] for name in told} == told
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (None, None, "")
    assert (row["cost_picousd"], row["price_source"]) == (0, "")
    assert upstream.requests == []


def test_an_answer_costs_what_the_provider_says(server: Sluice, upstream: Upstream):
    crew = new_crew(server, key=LIMITS)
    upstream.answers(chat_answer(usage=usage_of(30, 7)))
    assert post(server, crew.token, **CHAT).status == 200
    told = {"outcome": "complete", "error": "", "status_code": 200, "attempts": 1}
    check_charged(server, upstream, crew, Charged(30, 7, "provider"), **told)


def test_a_stream_that_a_stop_of_sluice_cut_is_charged_what_had_come(start_sluice: Any, upstream: Upstream):
    server = start_sluice(GRACE_SECS=1)
    set_price(server, MODEL, **PRICE)
    crew = new_crew(server)
    upstream.answers([*HALF, NEVER])
    peer = connect(server)
    peer.sendall(request_bytes(server, STREAM, authorization=f"Bearer {crew.token}"))
    answer, seen = answer_on(peer), b""
    while seen.count(b"abcd") < 3:
        seen += answer.read1(65_536)
    server.stop()
    answer.close()
    peer.close()
    row = rows_of(server, crew, 1)[0]
    assert (row["outcome"], row["error"], row["status_code"]) == ("internal_error", "shutdown", 200)
    assert Charged(row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == estimated(PROMPT, 3)
    assert row["cost_picousd"] == totals_of(server, crew)["key"] == estimated(PROMPT, 3).picousd
