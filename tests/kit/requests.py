"""Plain requests to the data plane, and the errors in its answers."""

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
STREAM: dict[str, Any] = {**CHAT, "stream": True}
WITH_USAGE: dict[str, Any] = {**STREAM, "stream_options": {"include_usage": True}}
RESPONSES: dict[str, Any] = {"model": "gpt-4.1-mini", "input": "hi"}
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
    """Send one request on a connection of its own, so that any worker may get it. `body` is added to `CHAT`."""
    told = {**({"authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
    if content is None and method == "POST":
        content = json.dumps({**CHAT, **body}).encode()
        told = {**JSON, **told}
    return plain.request(method, server.url + path, headers=told, content=content)


def post(server: Sluice, key: str, path: str, **body: Any) -> httpx.Response:
    """Post JSON to another endpoint: `post(server, key, "/images/generations", model="painter")`."""
    return ask(server, key, path=f"/v1{path}", content=json.dumps(body).encode(), headers=JSON)


def send_json(server: Sluice, method: str, path: str, body: Any = None, token: str = "") -> httpx.Response:
    """Send JSON, or no body, to any path of the server."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return plain.request(method, server.url + path, json=body, headers=headers)


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that the answer is an error with this status and code. Returns the error."""
    assert answer.status_code == status, answer.text
    error = error_of(answer)
    assert error["code"] == code, error
    return error


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error in an answer. Checks that it has OpenAI's shape."""
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert set(document) == {"error"}
    error: dict[str, Any] = document["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    return error
