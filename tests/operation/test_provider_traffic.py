"""Requests tell whether a provider is there, and nothing else is asked of it, unless an operator wants it to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer, error_answer, json_answer
from tests.kit.waiting import soon


def health(server: Sluice) -> dict[str, Any]:
    """Of the one provider, after a look."""
    server.manage("tasks", "run", "look-at-providers", check=False)  # or the server itself does, at this moment
    told: dict[str, Any] = server.api("GET", "/api/providers").json()["results"][0]["health"]
    return told


def send(server: Sluice, key: str, count: int, status: int) -> None:
    before = len(server.rows())
    assert {ask(server, key).status_code for _ in range(count)} == {status}
    soon(lambda: len(server.rows()) == before + count)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_requests_tell_how_a_provider_is(start_sluice: Callable[..., Sluice], upstream: Upstream, database: str):
    server = start_sluice(database)
    key = server.mint()
    assert health(server)["status"] == "unknown"
    upstream.script = chat_answer()
    send(server, key, 1, 200)
    soon(lambda: health(server)["status"] == "ok")
    served = health(server)
    assert served["error"] == ""
    assert served["latency_ms"] > 0
    upstream.script = error_answer(500)
    send(server, key, 2, 500)
    assert health(server)["status"] == "ok"  # two are no habit
    send(server, key, 1, 500)
    soon(lambda: health(server)["status"] == "down")
    down = health(server)
    assert (down["status"], down["error"]) == ("down", "The last 3 requests failed, the newest with 500.")
    assert down["since"] > served["since"]
    upstream.script = chat_answer()
    send(server, key, 1, 200)
    soon(lambda: health(server)["status"] == "ok")
    assert {received.method for received in upstream.requests} == {"POST"}


def test_who_wants_it_has_them_asked(start_sluice: Callable[..., Sluice], upstream: Upstream):
    server = start_sluice(PROVIDER_CHECKS="true")
    upstream.script = json_answer({"object": "list", "data": []})
    soon(lambda: health(server)["status"] == "ok")
    assert {(received.method, received.path) for received in upstream.requests} == {("GET", "/v1/models")}
