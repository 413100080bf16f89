"""P9: a client that leaves has a row that says so, and is charged what had come of the answer until then: by the
provider's count, else by an estimate that says so (docs/operations.md, "What a request costs that breaks off")."""

from __future__ import annotations

import json
import socket
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
    MODEL,
    NOTHING,
    PING,
    PRICE,
    PROMPT,
    RESPONSES,
    RESPONSES_PATH,
    STREAM,
    Charged,
    check_charged,
    chunk,
    estimated,
)
from tests.kit.clients import key_of
from tests.kit.ledger import rows_of
from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import NEVER, Chunk, Script, Send, Upstream, frame, stream_head
from tests.kit.upstream.scripts import EndChunks, Head
from tests.kit.vitals import is_idle
from tests.kit.wire import answer_on, connect, request_bytes

pytestmark = pytest.mark.server(prices={MODEL: PRICE})

LEFT = {"outcome": "client_closed", "error": "client_closed"}


LEAVING: dict[str, tuple[str, dict[str, Any], Script, bytes, int, Charged]] = {
    # Path, body, what the provider does, what the client has read when it leaves, the row's status, the charge.
    "a plain answer before its head": (CHAT_PATH, CHAT, [NEVER], b"", 499, NOTHING),
    "a plain answer after its head": (CHAT_PATH, CHAT, [JSON_HEAD, NEVER], b"", 499, NOTHING),
    "a plain answer within its body": (
        *(CHAT_PATH, CHAT),
        [JSON_HEAD, Send(b'{"id":"c","choices":[{"message":{"role":"assistant","content":"abcdabcd'), NEVER],
        *(b"", 499, estimated(PROMPT, 2)),
    ),
    "embeddings within their body": (
        *("/v1/embeddings", {"model": MODEL, "input": "x" * 38}),
        [JSON_HEAD, Send(b'{"data":[{"embedding":[0.1,'), NEVER],
        *(b"", 499, estimated(10, 0)),
    ),
    "an error within its body": (
        *(CHAT_PATH, CHAT),
        [Head(500, {"content-type": "application/json", "content-length": "4000"}), Send(b'{"error":'), NEVER],
        *(b"", 499, NOTHING),
    ),
    "a stream before its head": (CHAT_PATH, STREAM, [NEVER], b"", 499, NOTHING),
    "a stream after its head": (CHAT_PATH, STREAM, [stream_head(), NEVER], b"", 499, NOTHING),
    "a stream that only says that it lives": (CHAT_PATH, STREAM, [stream_head(), PING, NEVER], b"still", 200, NOTHING),
    "a stream after its first frame": (CHAT_PATH, STREAM, [*BEGUN, NEVER], b"role", 200, estimated(PROMPT, 0)),
    "a stream after three tokens": (CHAT_PATH, STREAM, [*HALF, NEVER], b"abcd" * 3, 200, estimated(PROMPT, 3)),
    "a stream that had been counted": (
        *(CHAT_PATH, STREAM, [*COUNTED, NEVER]),
        *(b"abcd" * 3, 200, Charged(20, 6, "provider")),
    ),
    "a stream that had been counted in part": (
        *(CHAT_PATH, STREAM, [*COUNTED, chunk("efghefgh"), NEVER]),
        *(b"efgh", 200, estimated(20, 8)),
    ),
    "a legacy completion": (
        *("/v1/completions", {"model": MODEL, "prompt": "x" * 38, "stream": True}),
        [stream_head(), Chunk(frame({"choices": [{"index": 0, "text": "abcdabcd"}]})), NEVER],
        *(b"abcd", 200, estimated(10, 2)),
    ),
    "a response before it says anything": (
        *(RESPONSES_PATH, RESPONSES, [*HALF_RESPONSE[:2], NEVER]),
        *(b"created", 200, NOTHING),
    ),
    "a response after three tokens": (
        *(RESPONSES_PATH, RESPONSES, [*HALF_RESPONSE, NEVER]),
        *(b"abcd" * 3, 200, estimated(2, 3)),
    ),
}


def sent(script: Script) -> int:
    """Bytes of the script until it halts."""
    return sum(
        len(action.data) if isinstance(action, Send) else len(action.encoded())
        for action in script
        if isinstance(action, Head | Send | Chunk | EndChunks)
    )


def read_until(peer: socket.socket, wanted: bytes) -> None:
    """`abcdabcd` stands for two frames with `abcd` in each."""
    answer, seen = answer_on(peer), b""
    word = wanted[:4] if wanted.startswith(b"abcd") else wanted
    while seen.count(word) < wanted.count(word):
        piece = answer.read1(65_536)
        assert piece, seen
        seen += piece
    answer.close()


@pytest.mark.parametrize("what", LEAVING)
def test_what_had_come_is_charged(server: Sluice, upstream: Upstream, what: str):
    path, body, script, wanted, status, charged = LEAVING[what]
    crew = new_crew(server, key=LIMITS)
    upstream.answers(script)
    peer = connect(server)
    peer.sendall(request_bytes(server, body, path=path, authorization=f"Bearer {crew.token}"))
    upstream.wait_until(lambda: upstream.requests and upstream.last.sent_bytes >= sent(script))
    if wanted:
        read_until(peer, wanted)
    peer.close()
    assert upstream.last.closed_by_peer.wait(20), "the provider was never let go"
    check_charged(server, upstream, crew, charged, **LEFT, status_code=status, attempts=1, provider="openai")


def test_a_connection_without_a_request_is_none(server: Sluice, upstream: Upstream):
    assert is_idle(server)
    before = server.metrics().total("llm_proxy_requests_total")
    connect(server).close()
    peer = connect(server)
    peer.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
    peer.close()
    assert ask(server, key_of(server)).status_code == 200  # by now the two before it are over
    assert is_idle(server)
    assert server.metrics().total("llm_proxy_requests_total") == before + 1
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("so_far", [b"", b'{"model": "broken-model", "messages"'], ids=["0 bytes", "some"])
def test_leaving_within_a_body_that_is_read_first_costs_nothing(server: Sluice, upstream: Upstream, so_far: bytes):
    crew = new_crew(server, key=LIMITS)
    peer = connect(server)
    peer.sendall(request_bytes(server, so_far, content_length="1000", authorization=f"Bearer {crew.token}"))
    peer.close()
    rows_of(server, crew, 1)[0]
    assert upstream.requests == []
    told = {**LEFT, "status_code": 499, "attempts": 0, "provider": ""}
    check_charged(server, upstream, crew, NOTHING, **told)


def test_leaving_within_an_upload_costs_nothing_and_lets_the_provider_go(server: Sluice, upstream: Upstream):
    crew = new_crew(server, key=LIMITS)
    peer = connect(server)
    fields = {"content_type": "application/octet-stream", "authorization": f"Bearer {crew.token}"}
    peer.sendall(request_bytes(server, b"first", path="/v1/files", content_length="1000000", **fields))
    upstream.wait_until(lambda: upstream.requests and upstream.last.body == b"first")
    peer.close()
    assert upstream.last.closed_by_peer.wait(20)
    check_charged(
        server, upstream, crew, NOTHING, **LEFT, status_code=499, attempts=1, provider="openai", request_bytes=5
    )


def test_what_nobody_reads_has_an_unknown_cost_once_some_of_it_came(server: Sluice, upstream: Upstream):
    crew = new_crew(server)
    upstream.answers(
        [Head(200, {"content-type": "audio/mpeg", "transfer-encoding": "chunked"}), Chunk(b"\0" * 9), NEVER]
    )
    peer = connect(server)
    body = {"model": MODEL, "input": "hi"}
    peer.sendall(request_bytes(server, body, path="/v1/thoughts", authorization=f"Bearer {crew.token}"))
    read_until(peer, b"\0")
    peer.close()
    row = rows_of(server, crew, 1)[0]
    assert (row["outcome"], row["cost_picousd"], row["price_source"]) == ("client_closed", None, "override")


def test_a_long_prompt_is_charged_too(server: Sluice, upstream: Upstream):
    """One that is estimated off the event loop."""
    crew = new_crew(server)
    upstream.answers([*HALF, NEVER])
    peer = connect(server)
    messages = [{"role": "user", "content": "four" * 500_000}]
    peer.sendall(request_bytes(server, {**STREAM, "messages": messages}, authorization=f"Bearer {crew.token}"))
    read_until(peer, b"abcd" * 3)
    peer.close()
    charged = estimated(-(-len(json.dumps(messages)) // 4), 3)
    row = rows_of(server, crew, 1)[0]
    assert Charged(row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == charged
    assert row["cost_picousd"] == charged.picousd
