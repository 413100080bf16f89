"""What the tests of the data plane share: to ask for an answer, to read a refusal, to wait for a change."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.kit import plain
from tests.kit.services import processes
from tests.kit.sluice import Sluice

MODEL = "gpt-4.1-mini"
MESSAGES = [{"role": "user", "content": "hi"}]
CHAT: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
JSON = {"content-type": "application/json"}
IN_FORCE_S = 1.0
"""How long a change may take until every process heeds it (P16)."""
TIMEOUT_S = 20.0
"""How long a test waits for what is only to come at all: a busy machine is slow, and nobody is measured by it."""


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


def soon(question: Callable[[], Any], within: float = TIMEOUT_S) -> None:
    """The answer becomes true."""
    assert processes.poll(question, timeout=within), f"not within {within} s"


def in_force(question: Callable[[], Any]) -> None:
    """The answer becomes true, with nothing done for it. That a second is enough is measured where nothing else runs:
    in `test_in_force.py` and by P16."""
    soon(question)


def let_a_second_pass(since: float) -> None:
    """Until a change that was made then must be in force. A late cache write would show only after that."""
    time.sleep(max(0.0, since + IN_FORCE_S - time.monotonic()))


def contents(directory: Path) -> dict[Path, bytes]:
    """Of every file below it, but for those that a server has taken away by the time that they are read."""
    found: dict[Path, bytes] = {}
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                found[path] = path.read_bytes()
    return found


def from_now(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def minted(server: Sluice, **fields: Any) -> tuple[int, str]:
    """A new key's id and token."""
    answer = server.api("POST", "/api/keys", json={"name": f"key-{time.monotonic_ns()}", **fields})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return answer.json()["id"], answer.json()["key"]


def changed(server: Sluice, path: str, **fields: Any) -> float:
    """PATCH of the management API; when it was answered."""
    answer = server.api("PATCH", path, json=fields)
    assert answer.status_code == httpx.codes.OK, answer.text
    return time.monotonic()


def row_of(server: Sluice, request_id: str) -> dict[str, Any]:
    """The ledger's row of a request, as soon as it is there."""
    found: list[dict[str, Any]] = []

    def written() -> bool:
        found[:] = [row for row in server.rows() if row["id"] == request_id]
        return bool(found)

    soon(written)
    assert len(found) == 1
    return found[0]


def new_project(server: Sluice, **fields: Any) -> int:
    answer = server.api("POST", "/api/projects", json={"name": f"project-{time.monotonic_ns()}", **fields})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return int(answer.json()["id"])


def new_provider(server: Sluice, name: str, base_url: str = "", **fields: Any) -> int:
    answer = server.api("POST", "/api/providers", json={"name": name, "base_url": base_url, **fields})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return int(answer.json()["id"])
