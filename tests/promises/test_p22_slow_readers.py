"""P22: clients that do not read cost a bounded amount of memory, hold their provider back, and lose nothing."""

from __future__ import annotations

import hashlib
import http.client
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.kit.requests import WITH_USAGE
from tests.kit.sluice import Sluice
from tests.kit.upstream import Chunk, EndChunks, Script, Upstream, chat_frames, stream_head
from tests.kit.vitals import is_idle, memory_kib
from tests.kit.wire import answer_on, connect, request_bytes

READERS = 30
FRAMES = 256
FRAME_BYTES = 65_536
STREAM_BYTES = FRAMES * FRAME_BYTES
MAX_GROWTH_KIB = 60 * 1024

begin, *_, finish, done = chat_frames()


def text_frame(number: int) -> bytes:
    head = b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"%06d ' % number
    tail = b'"},"finish_reason":null}]}\n\n'
    return head + b"x" * (FRAME_BYTES - len(head) - len(tail)) + tail


STREAM = [begin, *map(text_frame, range(FRAMES)), finish, done]
DIGEST = hashlib.sha256(b"".join(STREAM)).hexdigest()


def reads_nothing(_peer: socket.socket) -> None:
    """Not even the head of its answer."""


def reads_a_byte(peer: socket.socket) -> None:
    assert peer.recv(1, socket.MSG_PEEK)


def stand_still(upstream: Upstream) -> int:
    """Bytes that the provider could send, once it can send no more."""
    before = -1
    while before != (before := sum(received.sent_bytes for received in upstream.requests)):
        time.sleep(0.25)  # standing still can only be seen by waiting
    return before


def digest_of(answer: http.client.HTTPResponse) -> str:
    whole = hashlib.sha256()
    while piece := answer.read1(1 << 20):
        whole.update(piece)
    return whole.hexdigest()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/audio/speech"], ids=["read by Sluice", "unread"])
def test_readers_that_do_not_read_cost_little_and_get_all(sluice: Sluice, upstream: Upstream, path: str):
    upstream.script = [stream_head(), *map(Chunk, STREAM), EndChunks()]
    request = request_bytes(sluice, WITH_USAGE, path=path)
    with connect(sluice) as first:  # one whole stream, so that what each process has once is not counted
        first.sendall(request)
        assert digest_of(answer_on(first)) == DIGEST
    before = memory_kib(sluice, "VmRSS")
    with ExitStack() as open_peers:
        peers = [open_peers.enter_context(connect(sluice, receive_buffer=65_536)) for _ in range(READERS)]
        for peer in peers:
            peer.sendall(request)
        upstream.wait_for(READERS + 1)
        sent = stand_still(upstream)
        assert sent < (READERS + 1) * STREAM_BYTES * 0.8, "the provider was not held back"
        assert memory_kib(sluice, "VmHWM") - before < MAX_GROWTH_KIB
        answers = [answer_on(peer) for peer in peers]
        with ThreadPoolExecutor(8) as readers:
            assert set(readers.map(digest_of, answers)) == {DIGEST}
    assert memory_kib(sluice, "VmHWM") - before < MAX_GROWTH_KIB
    assert is_idle(sluice)


@pytest.mark.parametrize("sip", [1, 700])
def test_sips_arrive_in_order(sluice: Sluice, upstream: Upstream, sip: int):
    """A reader that takes a few bytes at a time never sees one out of place."""
    upstream.answers([stream_head(), *map(Chunk, STREAM[:40]), Chunk(finish), Chunk(done), EndChunks()])
    whole = b"".join([*STREAM[:40], finish, done])
    with connect(sluice, receive_buffer=4096) as peer:
        peer.sendall(request_bytes(sluice, WITH_USAGE))
        answer = answer_on(peer)
        got = b"".join(answer.read1(sip) for _ in range(3000))
        assert got == whole[: len(got)]
        assert got + answer.read() == whole


def test_a_client_that_uploads_is_held_back_by_its_provider(sluice: Sluice, upstream: Upstream):
    """And a body that is held back is in no memory of ours: see also `test_passthrough`."""
    before = memory_kib(sluice, "VmRSS")
    body = b"x" * 50_000_000
    with connect(sluice) as peer:
        peer.sendall(request_bytes(sluice, body, path="/v1/files", content_type="application/octet-stream"))
        assert answer_on(peer).status == 200
    assert upstream.last.body == body
    assert memory_kib(sluice, "VmHWM") - before < MAX_GROWTH_KIB


Slowly = Callable[[socket.socket], None]


@pytest.mark.parametrize("slowly", [reads_nothing, reads_a_byte])
def test_others_are_served_beside_them(sluice: Sluice, upstream: Upstream, slowly: Slowly):
    large: Script = [stream_head(), *map(Chunk, STREAM), EndChunks()]
    upstream.answers(*[large] * 5)
    with ExitStack() as open_peers:
        peers = [open_peers.enter_context(connect(sluice, receive_buffer=4096)) for _ in range(5)]
        for peer in peers:
            peer.sendall(request_bytes(sluice, WITH_USAGE))
            slowly(peer)
        upstream.wait_for(5)
        with connect(sluice) as other:
            other.sendall(request_bytes(sluice, WITH_USAGE))
            assert answer_on(other).read().endswith(b"data: [DONE]\n\n")
    assert is_idle(sluice)


def test_a_stop_does_not_wait_for_who_does_not_read(start_sluice, upstream: Upstream):
    server = start_sluice(GRACE_SECS=1)
    upstream.script = [stream_head(), *map(Chunk, STREAM), EndChunks()]
    with connect(server, receive_buffer=65_536) as peer:
        peer.sendall(request_bytes(server, WITH_USAGE))
        upstream.wait_for(1)
        assert stand_still(upstream) < STREAM_BYTES
        assert server.stop() == 0
    [row] = server.rows(expect=1)
    assert (row["outcome"], row["error"]) == ("internal_error", "shutdown")
