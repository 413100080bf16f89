"""What the tests of the relay share: one client for each server, sockets that misbehave, and the row of one request."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import httpx

from tests.kit.services import processes
from tests.kit.sluice import Sluice

CHAT: dict[str, Any] = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hi"}]}
STREAM: dict[str, Any] = {**CHAT, "stream": True}
WITH_USAGE: dict[str, Any] = {**STREAM, "stream_options": {"include_usage": True}}
RESPONSES: dict[str, Any] = {"model": "gpt-4.1-mini", "input": "hi"}

_keys: WeakKeyDictionary[Sluice, str] = WeakKeyDictionary()
_clients: WeakKeyDictionary[Sluice, httpx.Client] = WeakKeyDictionary()


def key_of(sluice: Sluice) -> str:
    if sluice not in _keys:
        _keys[sluice] = sluice.mint()
    return _keys[sluice]


def client_of(sluice: Sluice) -> httpx.Client:
    """The same client for all of a server's tests, its connections kept alive between them."""
    if sluice not in _clients:
        _clients[sluice] = sluice.client(key_of(sluice), headers={"accept-encoding": "gzip, br"})
    return _clients[sluice]


def new_id() -> str:
    """For the header X-Correlation-ID, by which `row_of` finds a request that got no answer."""
    return f"test-{secrets.token_hex(8)}"


def named(correlation_id: str) -> dict[str, str]:
    return {"x-correlation-id": correlation_id}


def row_of(sluice: Sluice, correlation_id: str) -> dict[str, Any]:
    """The one row of this request, as soon as it is there."""

    def find() -> list[dict[str, Any]]:
        return [row for row in sluice.rows() if row["correlation_id"] == correlation_id]

    found: list[dict[str, Any]] = processes.poll(find, timeout=20)
    assert len(found) == 1, f"{len(found)} rows for {correlation_id}\n{sluice.log_text()[-4000:]}"
    return found[0]


def is_idle(sluice: Sluice, timeout: float = 5) -> bool:
    """Whether the server comes to have no request under way."""
    return bool(processes.poll(lambda: sluice.metrics()["llm_proxy_active_requests"] == 0, timeout=timeout))


def add_provider(sluice: Sluice, url: str, name: str, models: Mapping[str, str], **fields: Any) -> None:
    """Another provider, in force when this returns."""
    given = {"name": name, "kind": "openai", "base_url": url, "models": dict(models), "credential": "default", **fields}
    answer = sluice.api("POST", "/api/providers/", json=given)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    probe = next(model for model in models if "*" not in model)

    def is_known() -> bool:
        listed = client_of(sluice).get("/v1/models").json()["data"]
        return any(model["id"] == probe for model in listed)

    assert processes.poll(is_known, timeout=20), "the provider is not in force"


def request_bytes(
    sluice: Sluice, body: Any = None, *, path: str = "/v1/chat/completions", method: str = "POST", **headers: str
) -> bytes:
    """A request as it goes on the wire; `content_length` may lie about the body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {
        "host": "sluice",
        "authorization": f"Bearer {key_of(sluice)}",
        "content_type": "application/json",
        "content_length": str(len(data)),
        **headers,
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def connect(sluice: Sluice, *, receive_buffer: int | None = None) -> socket.socket:
    """A connection to the server; the test closes it."""
    peer = socket.socket()
    if receive_buffer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    peer.settimeout(20)
    peer.connect(("127.0.0.1", sluice.port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def answer_on(peer: socket.socket) -> http.client.HTTPResponse:
    """The answer's head; its body can then be read in any steps."""
    answer = http.client.HTTPResponse(peer, method="POST")
    answer.begin()
    return answer


def memory_kib(sluice: Sluice, field: str) -> int:
    """`VmRSS` or `VmHWM` (its peak) of all that serve."""
    total = 0
    for pid in sluice.worker_pids():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return total
