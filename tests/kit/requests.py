"""Plain requests to the data plane, and what a refusal says."""

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
    """One request on a connection of its own, so that any worker may get it. `body` is added to a chat's."""
    told = {**({"authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
    if content is None and method == "POST":
        content = json.dumps({**CHAT, **body}).encode()
        told = {**JSON, **told}
    return plain.request(method, server.url + path, headers=told, content=content)


def post(server: Sluice, key: str, path: str, **body: Any) -> httpx.Response:
    """JSON to another endpoint: `post(server, key, "/images/generations", model="painter")`."""
    return ask(server, key, path=f"/v1{path}", content=json.dumps(body).encode(), headers=JSON)


def send_json(server: Sluice, method: str, path: str, body: Any = None, token: str = "") -> httpx.Response:
    """JSON, or nothing, to any path of the server."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return plain.request(method, server.url + path, json=body, headers=headers)


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
