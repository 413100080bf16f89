"""F106, F124: one row and one log line for each request, whatever became of it."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from tests.kit.databases import EACH_DATABASE
from tests.kit.ledger import row_of
from tests.kit.management import minted, new_project
from tests.kit.requests import CHAT, ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, WaitFor, chat_answer, chat_stream, error_answer, usage_of
from tests.kit.waiting import soon

pytestmark = pytest.mark.server(each=EACH_DATABASE)


def test_a_complete_request_tells_all_that_is_known(server: Sluice, upstream: Upstream):
    project = new_project(server)
    key_id, key = minted(server, project=project, tags=["a", "b"])
    usage = usage_of(
        11, 7, prompt_tokens_details={"cached_tokens": 3}, completion_tokens_details={"reasoning_tokens": 2}
    )
    upstream.answers(chat_answer("héllo", usage=usage))
    answer = ask(server, key, headers={"x-correlation-id": "corr"})
    row = row_of(server, answer.headers["x-request-id"])
    expected = {
        "key_id": key_id, "project_id": project, "user_id": None, "method": "POST", "endpoint": "/v1/chat/completions",
        "provider": "openai", "credential": "default", "model": CHAT["model"], "model_served": CHAT["model"],
        "stream": False, "status_code": 200, "outcome": "complete", "error": "", "attempts": 1, "prompt_tokens": 11,
        "completion_tokens": 7, "cached_tokens": 3, "reasoning_tokens": 2, "ip": "127.0.0.1", "correlation_id": "corr",
        "tags": ["a", "b"], "response_id": "chatcmpl-upstream",
    }  # fmt: skip
    row["ip"] = str(row["ip"])
    assert {name: row[name] for name in expected} == expected
    assert row["request_bytes"] == len(json.dumps(CHAT))
    assert row["response_bytes"] == len(answer.content)
    assert 0 < row["ttft_ms"] <= row["duration_ms"]
    assert 0 < row["upstream_ms"] <= row["duration_ms"]
    created_at = row["created_at"]
    assert abs(created_at.astimezone(UTC) - datetime.now(UTC)) < timedelta(seconds=20)


def test_a_stream_is_told_as_one_with_its_tokens(server: Sluice, upstream: Upstream):
    _, key = minted(server)
    upstream.answers(chat_stream(usage=usage_of(5, 6)))
    row = row_of(server, ask(server, key, stream=True).headers["x-request-id"])
    assert (row["stream"], row["outcome"], row["status_code"]) == (True, "complete", 200)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (5, 6)


def test_a_refused_request_says_why_and_who(server: Sluice, upstream: Upstream):
    key_id, key = minted(server, allowed_models=["x"])
    row = row_of(server, ask(server, key).headers["x-request-id"])
    assert (row["outcome"], row["status_code"], row["error"]) == ("refused", 403, "model_not_allowed")
    assert (row["key_id"], row["model"], row["provider"], row["attempts"]) == (key_id, CHAT["model"], "", 0)
    row = row_of(server, ask(server, None).headers["x-request-id"])
    assert (row["outcome"], row["error"], row["key_id"]) == ("refused", "missing_api_key", None)


def test_a_providers_error_is_told_as_one(server: Sluice, upstream: Upstream):
    _, key = minted(server)
    upstream.answers(error_answer(429))
    row = row_of(server, ask(server, key).headers["x-request-id"])
    assert (row["outcome"], row["status_code"], row["error"]) == ("upstream_error", 429, "upstream_429")


def test_a_client_that_left_is_told_as_one(server: Sluice, upstream: Upstream):
    _, key = minted(server)
    script = list(chat_stream())
    upstream.answers([*script[:3], WaitFor(threading.Event()), *script[3:]])
    client = server.client(key)
    with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        next(answer.iter_bytes())
    row = row_of(server, answer.headers["x-request-id"])
    assert (row["outcome"], row["status_code"], row["stream"]) == ("client_closed", 200, True)


def test_text_that_a_database_does_not_take_leaves_a_row_all_the_same(server: Sluice, upstream: Upstream):
    _, key = minted(server)
    answer = ask(server, key, model="m" * 200, headers={"x-correlation-id": "c" * 500})
    assert row_of(server, answer.headers["x-request-id"])["model"] == "m" * 200


def test_each_request_has_one_line_of_json_without_its_prompt(server: Sluice, upstream: Upstream):
    _, key = minted(server)
    upstream.answers(
        chat_answer("answer-canary-1"), chat_stream(["answer-canary-2"]), error_answer(500, "error-canary-3")
    )
    asked = [
        ask(server, key, messages=[{"role": "user", "content": "prompt-canary-4"}], stream=n == 1) for n in range(3)
    ]
    asked.append(ask(server, None, headers={"x-correlation-id": "corr-canary"}))
    ids = [answer.headers["x-request-id"] for answer in asked]
    soon(lambda: all(request_id in server.log_text() for request_id in ids))
    text = server.log_text()
    lines = [json.loads(line) for line in text.splitlines()]
    mine = [line for line in lines if (line.get("request_id") or line.get("id")) in ids]
    assert len(mine) == len(ids)
    assert [line["status"] for line in mine] == [200, 200, 500, 401]
    assert mine[3]["correlation_id"] == "corr-canary"
    for canary in ("answer-canary-1", "answer-canary-2", "error-canary-3", "prompt-canary-4", key):
        assert canary not in text
