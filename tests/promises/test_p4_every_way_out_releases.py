"""P4, P8, P9: however a request ends, what it had reserved is free again, but for what it cost.

Each has room for one request at a time and for three requests' money. Afterwards a request that asks for all of the
money that is left fits, to the token, and one that asks for one token more does not.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.accounts import Crew, new_crew
from tests.kit.databases import query
from tests.kit.ledger import booked
from tests.kit.management import MODEL, usd
from tests.kit.sluice import ALONE_AND_WITH_REDIS, Sluice
from tests.kit.spending import BOUNDED, COST, Got, post
from tests.kit.upstream import (
    NEVER,
    Chunk,
    Reset,
    Script,
    Upstream,
    chat_answer,
    chat_frames,
    chat_stream,
    error_answer,
    json_answer,
    stream_head,
    usage_of,
)
from tests.kit.upstream.scripts import Action
from tests.kit.waiting import in_force, soon
from tests.kit.wire import answer_on, connect, request_bytes

pytestmark = pytest.mark.server(
    each=ALONE_AND_WITH_REDIS, prices={MODEL: {}}, TTFT_TIMEOUT_SECS=3, STREAM_IDLE_TIMEOUT_SECS=3
)

ROOM = 3 * COST
STREAM: dict[str, Any] = {**BOUNDED, "stream": True}
HALF: list[Action] = [stream_head(), *map(Chunk, chat_frames()[:4])]


ANSWERS: dict[str, tuple[str, dict[str, Any], Script, int]] = {
    "an answer": ("/v1/chat/completions", BOUNDED, chat_answer(usage=usage_of(5, 700)), 700),
    "a stream": ("/v1/chat/completions", STREAM, chat_stream(usage=usage_of(5, 700)), 700),
    "a stream whose usage is in its last frame": (
        "/v1/chat/completions",
        STREAM,
        chat_stream(usage=usage_of(5, 700), usage_shape="last"),
        700,
    ),
    "a stream that tells its usage in every frame": (
        "/v1/chat/completions",
        STREAM,
        chat_stream(usage=usage_of(5, 700), usage_shape="every"),
        700,
    ),
    "a stream without usage is charged by its frames": (
        "/v1/chat/completions",
        STREAM,
        chat_stream(["abcd"] * 9, usage_shape="none"),
        9,
    ),
    "400 of the provider": ("/v1/chat/completions", BOUNDED, error_answer(400), 0),
    "429 of the provider": ("/v1/chat/completions", BOUNDED, error_answer(429), 0),
    "500 of the provider": ("/v1/chat/completions", BOUNDED, error_answer(500), 0),
    "an answer that is no JSON": ("/v1/chat/completions", BOUNDED, [*json_answer({})[:1], Reset()], 0),
    "no answer": ("/v1/chat/completions", BOUNDED, [Reset()], 0),
    "no first byte in time": ("/v1/chat/completions", BOUNDED, [NEVER], 0),
    "no first frame in time": ("/v1/chat/completions", STREAM, [NEVER], 0),
    "a stream that is cut": ("/v1/chat/completions", STREAM, [*HALF, Reset()], 3),
    "a stream that stalls": ("/v1/chat/completions", STREAM, [*HALF, NEVER], 3),
    "what is passed through": ("/v1/files", {"purpose": "batch"}, json_answer({"id": "file-1"}), 0),
    "what is passed through and refused": ("/v1/files", {"purpose": "batch"}, error_answer(400), 0),
}


def crew_of(server: Sluice) -> Crew:
    return new_crew(server, key={"parallel": 1, "budget": usd(ROOM)})


def all_is_free(server: Sluice, crew: Crew, upstream: Upstream, tokens: int) -> None:
    """But for the cost of these tokens, in the ledger and for admission."""
    soon(lambda: booked(server, crew) == tokens * 10**6)
    upstream.script = chat_answer(usage=usage_of(5, 1))
    left = ROOM // 10**6 - tokens

    def settled() -> Got:
        return post(server, crew.token, model=MODEL, max_tokens=left + 1)

    soon(lambda: b"reserved by" not in settled().body)
    too_much = settled()
    assert (too_much.status, too_much.error["code"]) == (429, "insufficient_quota"), too_much
    assert post(server, crew.token, model=MODEL, max_tokens=left).status == 200


@pytest.mark.parametrize("what", ANSWERS)
def test_whatever_the_provider_does(server: Sluice, upstream: Upstream, what: str):
    path, body, script, tokens = ANSWERS[what]
    crew = crew_of(server)
    upstream.script = script
    # Some answers break off.
    with contextlib.suppress(OSError, http.client.HTTPException):
        post(server, crew.token, path=path, **body)
    all_is_free(server, crew, upstream, tokens)


LEAVING: dict[str, tuple[dict[str, Any], Script, Callable[[bytes], bool], int]] = {
    "a plain answer before its head": (BOUNDED, [NEVER], lambda seen: True, 0),
    "a stream before its head": (STREAM, [NEVER], lambda seen: True, 0),
    "a stream after three tokens": (STREAM, [*HALF, NEVER], lambda seen: b" wor" in seen, 3),
}


@pytest.mark.parametrize("what", LEAVING)
def test_a_client_that_leaves_is_charged_what_was_produced(server: Sluice, upstream: Upstream, what: str):
    body, script, enough, tokens = LEAVING[what]
    crew = crew_of(server)
    upstream.script = script
    peer = connect(server)
    told = {"messages": [{"role": "user", "content": "hi"}], **body}
    peer.sendall(request_bytes(server, told, authorization=f"Bearer {crew.token}"))
    upstream.wait_for(1)
    if tokens:
        answer, seen = answer_on(peer), b""
        while not enough(seen):
            seen += answer.read1(65_536)
        answer.close()
    peer.close()

    def rows() -> list[str]:
        found = query(server.database_url, "SELECT key_id, outcome FROM usage_requestrecord")
        return [row["outcome"] for row in found if str(row["key_id"]) == crew.ids["key"]]

    soon(lambda: rows() == ["client_closed"])
    all_is_free(server, crew, upstream, tokens)


def test_what_no_provider_can_answer(server: Sluice, upstream: Upstream):
    provider = server.api("GET", "/api/providers").json()["results"][0]
    crew = crew_of(server)
    path = f"/api/providers/{provider['id']}"
    assert server.api("PATCH", path, json={"is_enabled": False}).is_success
    try:
        in_force(lambda: post(server, crew.token, **BOUNDED).status in (404, 503))
    finally:
        assert server.api("PATCH", path, json={"is_enabled": True}).is_success
    upstream.script = error_answer(400)
    in_force(lambda: post(server, crew.token, **BOUNDED).status == 400)
    all_is_free(server, crew, upstream, booked(server, crew) // 10**6)
