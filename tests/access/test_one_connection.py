"""Requests that follow each other on one connection: what was worked out for one holds for the next only where the
next says the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import httpx
import pytest

from keys.tokens import CHECKSUM_CHARS, PUBLIC_ID_CHARS, Token, write_token
from tests.kit import plain
from tests.kit.management import minted
from tests.kit.requests import CHAT, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer
from tests.kit.waiting import in_force


@pytest.fixture
def connection(sluice: Sluice, upstream: Upstream) -> Iterator[httpx.Client]:
    """A client that has exactly one connection, and a provider that answers whatever comes."""
    upstream.answers(*[chat_answer()] * 20)
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    with plain.client(base_url=sluice.url, limits=limits) as client:
        yield client


def ask(
    client: httpx.Client, key: str | None, *, headers: Mapping[str, str] | None = None, text: str = "hi"
) -> httpx.Response:
    told = {"authorization": f"Bearer {key}"} if key else {}
    body = {**CHAT, "messages": [{"role": "user", "content": text}]}
    return client.post("/v1/chat/completions", json=body, headers={**told, **(headers or {})})


def test_each_request_counts_for_its_own_key(connection: httpx.Client, sluice: Sluice) -> None:
    first, second = minted(sluice), minted(sluice)
    ids = []
    for key_id, key in (first, first, second, first, second, second):
        answer = ask(connection, key)
        assert answer.status_code == 200
        ids.append((answer.headers["x-request-id"], key_id))
    rows = {row["id"]: row for row in sluice.rows(expect=len(ids))}
    assert [rows[request_id]["key_id"] for request_id, _ in ids] == [key_id for _, key_id in ids]


def test_a_wrong_secret_is_refused_after_the_right_one(connection: httpx.Client, sluice: Sluice) -> None:
    (_, key), (_, other) = minted(sluice), minted(sluice)
    assert ask(connection, key).status_code == 200
    refused(ask(connection, with_secret_of(key, other)), 401, "invalid_api_key")
    refused(ask(connection, None), 401, "missing_api_key")
    assert ask(connection, key).status_code == 200


def test_a_change_of_the_key_is_heeded_on_the_same_connection(connection: httpx.Client, sluice: Sluice) -> None:
    key_id, key = minted(sluice)
    assert ask(connection, key).status_code == 200
    rotated = sluice.api("POST", f"/api/keys/{key_id}/rotate").json()["key"]
    in_force(lambda: ask(connection, key).status_code == 401)
    assert ask(connection, rotated).status_code == 200
    sluice.api("POST", f"/api/keys/{key_id}/revoke")
    in_force(lambda: ask(connection, rotated).status_code == 401)


def test_bodies_of_different_lengths_arrive_whole(connection: httpx.Client, sluice: Sluice, upstream: Upstream) -> None:
    _, key = minted(sluice)
    for length in (1, 5_000, 3, 200_000, 3):
        assert ask(connection, key, text="x" * length).status_code == 200
        sent = upstream.requests[-1]
        assert json.loads(sent.body)["messages"][0]["content"] == "x" * length


def test_headers_of_one_request_do_not_go_up_with_the_next(
    connection: httpx.Client, sluice: Sluice, upstream: Upstream
) -> None:
    _, key = minted(sluice)
    seen: list[str | None] = []
    for headers in ({"x-mine": "1"}, {"x-mine": "1"}, {"x-mine": "2"}, {}):
        answer = ask(connection, key, headers={**headers, "x-correlation-id": f"c{len(seen)}"})
        assert answer.headers["x-correlation-id"] == f"c{len(seen)}"
        seen.append(dict(upstream.requests[-1].headers).get("x-mine"))
    assert seen == ["1", "1", "2", None]


def with_secret_of(key: str, other: str) -> str:
    """A well-formed token that has the one's public id and the other's secret."""
    start = len("sk-sluice-")
    middle = start + PUBLIC_ID_CHARS
    stranger = Token(key[start:middle], other[middle:-CHECKSUM_CHARS])
    return write_token(stranger, "sk-sluice-")
