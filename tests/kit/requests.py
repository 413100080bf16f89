"""What the tests of the data plane share: to ask for an answer, to read a refusal, to wait for a change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from tests.kit import plain
from tests.kit.sluice import Sluice

MODEL = "gpt-4.1-mini"
MESSAGES = [{"role": "user", "content": "hi"}]
CHAT: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
JSON = {"content-type": "application/json"}


def ask(
    server: Sluice,
    key: str | None = None,
    *,
    path: str = "/v1/chat/completions",
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    **body: Any,
) -> httpx.Response:
    """One request on a connection of its own, so that any worker may get it. `body` is added to a chat's."""
    told = {**({"authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
    if content is None and method == "POST":
        content = json.dumps({**CHAT, **body}).encode()
        told = {**JSON, **told}
    return plain.request(method, server.url + path, headers=told, content=content)


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of a refusal, after a look at its status and shape."""
    assert answer.status_code == status, answer.text
    error = error_of(answer)
    assert error["code"] == code, error
    return error


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error in OpenAI's shape."""
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert set(document) == {"error"}
    error: dict[str, Any] = document["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    return error


STREAM: dict[str, Any] = {**CHAT, "stream": True}
WITH_USAGE: dict[str, Any] = {**STREAM, "stream_options": {"include_usage": True}}
RESPONSES: dict[str, Any] = {"model": "gpt-4.1-mini", "input": "hi"}
