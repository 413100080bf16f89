"""P21: a client that leaves is noticed at once: its provider is let go, its row is written, nobody is blamed."""

from __future__ import annotations

import json
import threading
import time

import pytest

from tests.kit.clients import client_of, new_id
from tests.kit.leaving import Leave, check_let_go, check_row, leaving
from tests.kit.ledger import row_of
from tests.kit.requests import CHAT, RESPONSES, STREAM
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    NEVER,
    Chunk,
    Close,
    EndChunks,
    Head,
    Received,
    Script,
    Send,
    Upstream,
    WaitFor,
    chat_frames,
    json_answer,
    responses_stream,
    stream_head,
)
from tests.kit.vitals import is_idle
from tests.kit.wire import answer_on, connect, request_bytes

pytestmark = pytest.mark.elapsed

PIECE = Chunk(b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 65_536 + b'"}}]}\n\n')
EVENTS = [action.data for action in responses_stream() if isinstance(action, Chunk)]
JSON_HEAD = Head(200, {"content-type": "application/json", "content-length": "1000"})


# Path, body, what the provider does.
SILENT: dict[str, tuple[str, dict, Script]] = {
    "a plain chat before its head": ("/v1/chat/completions", CHAT, [NEVER]),
    "a plain chat within its body": ("/v1/chat/completions", CHAT, [JSON_HEAD, Send(b"{"), NEVER]),
    "a stream before its head": ("/v1/chat/completions", STREAM, [NEVER]),
    "a stream before its first frame": ("/v1/chat/completions", STREAM, [stream_head(), NEVER]),
    "embeddings": ("/v1/embeddings", {"model": "m", "input": "x"}, [NEVER]),
    "what is passed through": ("/v1/images/generations", {"prompt": "x"}, [NEVER]),
}
STREAMING: dict[str, tuple[str, dict, Script]] = {
    "chat": ("/v1/chat/completions", STREAM, [stream_head(), *map(Chunk, chat_frames()[:3]), NEVER]),
    "responses": ("/v1/responses", {**RESPONSES, "stream": True}, [stream_head(), *map(Chunk, EVENTS[:5]), NEVER]),
    "an endless chat": ("/v1/chat/completions", STREAM, [stream_head(), *[PIECE] * 4000]),
    "speech": ("/v1/audio/speech", {"input": "x"}, [stream_head(), *[Chunk(b"\0" * 65_536)] * 4000]),
}


@leaving
@pytest.mark.parametrize("name", SILENT)
def test_leaving_before_the_answer_lets_the_provider_go(sluice: Sluice, upstream: Upstream, name: str, leave: Leave):
    path, body, script = SILENT[name]
    upstream.answers(script)
    call = new_id()
    peer = connect(sluice)
    peer.sendall(request_bytes(sluice, body, path=path, x_correlation_id=call))
    [received] = upstream.wait_for(1)
    leave(peer)
    check_let_go(received, time.monotonic())
    check_row(sluice, call, 499)


@leaving
@pytest.mark.parametrize("name", STREAMING)
def test_leaving_in_mid_stream_lets_the_provider_go(sluice: Sluice, upstream: Upstream, name: str, leave: Leave):
    path, body, script = STREAMING[name]
    upstream.answers(script)
    call = new_id()
    peer = connect(sluice)
    peer.sendall(request_bytes(sluice, body, path=path, x_correlation_id=call))
    answer = answer_on(peer)
    assert answer.read1(10)
    received = upstream.last
    answer.close()
    leave(peer)
    check_let_go(received, time.monotonic())
    check_row(sluice, call, 200)


@leaving
def test_leaving_a_stream_that_one_does_not_read_lets_the_provider_go(sluice: Sluice, upstream: Upstream, leave: Leave):
    """The server is inside `send` then, and reads nothing from either side."""
    upstream.answers([stream_head(), *[PIECE] * 4000])
    call = new_id()
    peer = connect(sluice, receive_buffer=4096)
    peer.sendall(request_bytes(sluice, STREAM, x_correlation_id=call))
    upstream.wait_for(1)
    received = upstream.last
    stood_at = -1
    while stood_at != (stood_at := received.sent_bytes):
        time.sleep(0.1)  # standing still can only be seen by waiting
    leave(peer)
    check_let_go(received, time.monotonic())
    check_row(sluice, call, 200)


def test_what_was_produced_until_then_is_in_the_row(sluice: Sluice, upstream: Upstream):
    upstream.answers([stream_head(), *map(Chunk, chat_frames(["abcd"] * 3)[:4]), NEVER])
    call = new_id()
    peer = connect(sluice)
    peer.sendall(request_bytes(sluice, STREAM, x_correlation_id=call))
    answer = answer_on(peer)
    seen = b""
    while seen.count(b"abcd") < 3:
        seen += answer.read1(65_536)
    answer.close()
    peer.close()
    row = row_of(sluice, call)
    assert (row["outcome"], row["completion_tokens"], row["usage_source"]) == ("client_closed", 3, "estimated")
    assert row["response_id"] == "chatcmpl-upstream"


def test_a_client_that_stays_is_served_while_others_leave(sluice: Sluice, upstream: Upstream):
    go = threading.Event()

    def by_model(received: Received) -> Script:
        if received.json()["model"] == "stays":
            return [WaitFor(go), *json_answer({"id": "x", "choices": []})]
        return [stream_head(), Chunk(chat_frames()[0]), NEVER]

    upstream.script = by_model
    stays = connect(sluice)
    stays.sendall(request_bytes(sluice, {**CHAT, "model": "stays"}))
    peers = [connect(sluice) for _ in range(20)]
    for peer in peers:
        peer.sendall(request_bytes(sluice, {**STREAM, "model": "leaves"}))
    for peer in peers:
        assert peer.recv(10)
    left = [received for received in upstream.wait_for(21) if received.json()["model"] == "leaves"]
    for peer in peers:
        peer.close()
    left_at = time.monotonic()
    for received in left:
        check_let_go(received, left_at)
    go.set()
    with stays:
        assert json.load(answer_on(stays))["id"] == "x"
    assert is_idle(sluice)


def test_a_provider_whose_client_left_is_asked_again_as_before(sluice: Sluice, upstream: Upstream):
    for _ in range(5):
        upstream.answers([NEVER])
        peer = connect(sluice)
        peer.sendall(request_bytes(sluice, CHAT))
        upstream.wait_until(lambda: upstream.open_requests == 1)
        peer.close()
        upstream.wait_until(lambda: upstream.open_requests == 0)
    upstream.answers([stream_head(), *map(Chunk, chat_frames()), EndChunks(), Close()])
    assert client_of(sluice).post("/v1/chat/completions", json=STREAM).status_code == 200
