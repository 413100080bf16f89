"""Connections to a provider are kept and used again, and one that died meanwhile is nobody's error."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.kit.clients import client_of, key_of, named, new_id
from tests.kit.ledger import row_of
from tests.kit.requests import CHAT, STREAM
from tests.kit.services import processes
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import (
    Action,
    Chunk,
    Close,
    EndChunks,
    Head,
    Reset,
    Send,
    Upstream,
    WaitFor,
    chat_answer,
    chat_frames,
    chat_stream,
    json_answer,
    stream_head,
)
from tests.kit.wire import answer_on, connect, request_bytes

LONG = {**CHAT, "messages": [{"role": "user", "content": "x" * 1_000_000}]}
"""It goes up in pieces."""


def ask(sluice: Sluice, body: dict = CHAT, path: str = "/v1/chat/completions") -> httpx.Response:
    return client_of(sluice).post(path, json=body)


@pytest.mark.parametrize("body", [CHAT, STREAM, LONG], ids=["plain", "streamed", "long"])
def test_requests_one_after_the_other_share_a_connection(sluice: Sluice, upstream: Upstream, body: dict):
    for _ in range(5):
        assert ask(sluice, body).status_code == 200
    assert len({received.connection_id for received in upstream.requests}) == 1


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("body", [CHAT, STREAM, LONG], ids=["plain", "streamed", "long"])
def test_a_pooled_connection_that_the_provider_closed_is_no_error(
    sluice: Sluice, upstream: Upstream, body: dict, end: Action
):
    answer = chat_stream() if body is STREAM else chat_answer()
    for _ in range(10):
        upstream.answers([*answer, end])  # a whole answer that promises to stay, and does not
        assert ask(sluice, body).status_code == 200
    assert len(upstream.requests) == 10


def test_a_connection_that_dies_as_it_is_used_is_no_error_either(start_sluice: StartSluice):
    """The race that no look at the pool can win: the provider closes while the request is on its way."""
    reply = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    heads: list[bytes] = []

    def provide(listener: socket.socket) -> None:
        first, _ = listener.accept()
        heads.append(first.recv(65_536))
        first.sendall(reply)
        heads.append(first.recv(65_536))
        first.close()
        second, _ = listener.accept()
        heads.append(second.recv(65_536))
        second.sendall(reply)
        second.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        sluice = start_sluice(upstream_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        providing = threading.Thread(target=provide, args=(listener,))
        providing.start()
        call = new_id()
        first = ask(sluice)
        second = client_of(sluice).post("/v1/chat/completions", json=CHAT, headers=named(call))
        providing.join(20)
    assert (first.status_code, second.status_code) == (200, 200)
    assert heads[1] == heads[2]
    assert row_of(sluice, call)["outcome"] == "complete"


def test_a_fresh_connection_that_is_closed_is_not_tried_again(start_sluice: StartSluice, upstream: Upstream):
    sluice = start_sluice()
    upstream.script = [Close()]
    assert ask(sluice).status_code == 502
    assert len(upstream.requests) == 1


def test_a_request_that_was_begun_to_be_answered_is_not_sent_again(sluice: Sluice, upstream: Upstream):
    ask(sluice)
    upstream.answers([Send(b"HTTP/1.1 200 OK\r\ncontent-"), Close()])
    assert ask(sluice).status_code == 502
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/images/edits"], ids=["read", "unread"])
def test_what_a_provider_says_unasked_is_nobodys_answer(sluice: Sluice, upstream: Upstream, path: str):
    stray = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n" + b'{"id":"stray"}'
    head, body = chat_answer("mine")
    assert isinstance(body, Send)
    upstream.answers([head, Send(body.data + stray)], chat_answer("mine"))
    for _ in range(2):
        answer = ask(sluice, path=path)
        assert answer.status_code == 200, answer.text
        assert answer.content == body.data


def test_a_provider_that_says_close_is_taken_at_its_word(sluice: Sluice, upstream: Upstream):
    upstream.answers(chat_answer(headers={"connection": "close"}))
    assert ask(sluice).status_code == 200
    assert ask(sluice).status_code == 200
    assert len({received.connection_id for received in upstream.requests}) == 2


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
@pytest.mark.parametrize("body", [CHAT, STREAM, LONG], ids=["plain", "streamed", "long"])
def test_interim_answers_are_not_the_answer(sluice: Sluice, upstream: Upstream, interim: bytes, body: dict):
    hint = b"HTTP/1.1 " + interim + b"\r\nlink: </x>; rel=preload\r\n\r\n"
    upstream.answers([Send(hint), Send(hint), *(chat_stream() if body is STREAM else chat_answer())])
    answer = ask(sluice, body)
    assert answer.status_code == 200
    assert "link" not in answer.headers
    assert b"hatcmpl-upstream" in answer.content
    assert ask(sluice).status_code == 200


def test_head_has_the_headers_and_no_body(sluice: Sluice, upstream: Upstream):
    upstream.answers([Head(200, {"content-type": "video/mp4", "content-length": "12345"})])
    with connect(sluice) as peer:
        peer.sendall(request_bytes(sluice, b"", method="HEAD", path="/v1/thoughts/f/content", connection="close"))
        answer = b"".join(iter(lambda: peer.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: 12345\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert upstream.last.method == "HEAD"
    assert ask(sluice).status_code == 200


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_leaves_the_connection_usable(sluice: Sluice, upstream: Upstream, status: int):
    upstream.answers([Head(status, {"x-thing": "1"})], json_answer({"after": 1}))
    with connect(sluice) as peer:
        peer.sendall(request_bytes(sluice, b"", method="DELETE", path="/v1/thoughts/f"))
        first = answer_on(peer)
        assert (first.status, first.read(), first.headers["x-thing"]) == (status, b"", "1")
        assert first.headers["transfer-encoding"] is None
        peer.sendall(request_bytes(sluice, b"", method="GET", path="/v1/thoughts/f"))
        assert answer_on(peer).read() == b'{"after": 1}'
    assert len({received.connection_id for received in upstream.requests}) == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/images/edits"], ids=["read", "unread"])
def test_a_body_without_a_length_ends_with_its_connection(sluice: Sluice, upstream: Upstream, path: str):
    body = b'{"id":"x", "choices":[]}'
    upstream.answers([Head(200, {"content-type": "application/json"}), Send(body[:9]), Send(body[9:]), Close()])
    assert ask(sluice, CHAT, path).content == body


def test_a_stream_without_a_length_ends_with_its_connection(sluice: Sluice, upstream: Upstream):
    upstream.answers([Head(200, {"content-type": "text/event-stream"}), *map(Send, chat_frames()), Close()])
    assert ask(sluice, STREAM).content.endswith(b"data: [DONE]\n\n")


def test_trailers_are_no_headers_and_no_body(sluice: Sluice, upstream: Upstream):
    upstream.answers([stream_head(), *map(Chunk, chat_frames(usage_shape="none")), EndChunks({"x-sum": "1"})])
    answer = ask(sluice, STREAM)
    assert answer.content == b"".join(chat_frames(usage_shape="none"))
    assert ask(sluice).status_code == 200
    assert len({received.connection_id for received in upstream.requests}) == 1


def test_many_at_once_each_get_their_own_answer(sluice: Sluice, upstream: Upstream):
    upstream.script = lambda received: chat_answer(received.json()["model"])
    key_of(sluice)
    client = sluice.client(key_of(sluice), limits=httpx.Limits(max_connections=16))

    def one(number: int) -> bool:
        answer = client.post("/v1/chat/completions", json={**CHAT, "model": f"m{number}"}).json()
        return bool(answer["choices"][0]["message"]["content"] == f"m{number}")

    with ThreadPoolExecutor(16) as callers:
        assert all(callers.map(one, range(200)))
    assert upstream.peak_open_connections <= 18


def test_an_answer_before_the_upload_is_over_leaves_no_half_request_behind(sluice: Sluice, upstream: Upstream):
    """A connection whose request was broken off must not carry the next one: that would be read as the body's rest."""
    upstream.early = True
    upstream.answers(json_answer({"error": {"message": "too large"}}, status=413))
    with connect(sluice) as peer:
        fields = {"content_type": "application/octet-stream", "content_length": "1000"}
        peer.sendall(request_bytes(sluice, b"x" * 10, path="/v1/files", **fields))
        assert answer_on(peer).status == 413
    upstream.early = False
    assert processes.poll(lambda: upstream.open_requests == 0, timeout=20)
    for _ in range(3):
        answer = client_of(sluice).post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == 200
    assert [received.path for received in upstream.requests[1:]] == ["/v1/chat/completions"] * 3


def test_a_provider_may_begin_to_answer_before_it_has_the_whole_body(sluice: Sluice, upstream: Upstream):
    upstream.early = True
    whole = threading.Event()
    upstream.answers([Head(200, {"transfer-encoding": "chunked"}), Chunk(b"early"), WaitFor(whole), EndChunks()])
    with connect(sluice) as peer:
        fields = {"content_type": "application/octet-stream", "content_length": "20"}
        peer.sendall(request_bytes(sluice, b"x" * 10, path="/v1/files", **fields))
        answer = answer_on(peer)
        assert answer.read1(5) == b"early"
        peer.sendall(b"y" * 10)
        upstream.wait_until(lambda: upstream.last.body == b"x" * 10 + b"y" * 10)
        whole.set()
        assert answer.read() == b""


def test_a_request_that_makes_the_provider_hang_up_is_sent_at_most_twice(sluice: Sluice, upstream: Upstream):
    """However many connections wait in the pool."""
    gate = threading.Event()
    upstream.answers(*[[WaitFor(gate), *chat_answer()]] * 8)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, sluice) for _ in range(8)]
        upstream.wait_for(8)
        gate.set()
        assert [future.result().status_code for future in asked] == [200] * 8
    assert len({received.connection_id for received in upstream.requests}) == 8
    upstream.answers(*[[Close()]] * 9)
    answer = ask(sluice)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_disconnected")
    assert len(upstream.requests) == 8 + 2
    upstream.reset()
