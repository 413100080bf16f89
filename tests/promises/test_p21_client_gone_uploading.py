"""P21 for uploads: a client that leaves while it sends its body, or right after, is noticed as well."""

from __future__ import annotations

import time

import pytest

from tests.kit.clients import new_id
from tests.kit.leaving import Leave, check_let_go, check_row, leaving
from tests.kit.services import processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import NEVER, Chunk, Upstream, stream_head
from tests.kit.wire import answer_on, connect, request_bytes

pytestmark = pytest.mark.elapsed


@leaving
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_leaving_within_an_upload_lets_the_provider_go(sluice: Sluice, upstream: Upstream, framing: str, leave: Leave):
    call = new_id()
    peer = connect(sluice)
    fields = {"content_type": "application/octet-stream", "x_correlation_id": call}
    if framing == "length":
        peer.sendall(request_bytes(sluice, b"first", path="/v1/files", content_length="1000000", **fields))
    else:
        head = request_bytes(sluice, b"", path="/v1/files", transfer_encoding="chunked", **fields)
        peer.sendall(head.replace(b"content-length: 0\r\n", b"") + b"5\r\nfirst\r\n")
    upstream.wait_until(lambda: upstream.requests and upstream.last.body == b"first")
    leave(peer)
    check_let_go(upstream.last, time.monotonic())
    check_row(sluice, call, 499)


@leaving
def test_leaving_within_the_body_of_a_chat_asks_no_provider(sluice: Sluice, upstream: Upstream, leave: Leave):
    call = new_id()
    peer = connect(sluice)
    peer.sendall(request_bytes(sluice, b'{"model":', content_length="100", x_correlation_id=call))
    assert processes.poll(lambda: sluice.metrics()["llm_proxy_active_requests"] == 1, timeout=20)
    leave(peer)
    check_row(sluice, call, 499)
    assert upstream.requests == []


@pytest.mark.parametrize("path", ["/v1/files", "/v1/audio/transcriptions"])
def test_leaving_the_answer_to_an_upload_lets_the_provider_go(sluice: Sluice, upstream: Upstream, path: str):
    upstream.answers([stream_head(), Chunk(b"data: 1\n\n"), NEVER])
    call = new_id()
    peer = connect(sluice)
    fields = {"content_type": "application/octet-stream", "x_correlation_id": call}
    peer.sendall(request_bytes(sluice, b"x" * 100_000, path=path, **fields))
    answer = answer_on(peer)
    assert answer.read1(3)
    answer.close()
    peer.close()
    check_let_go(upstream.last, time.monotonic())
    check_row(sluice, call, 200)


def test_leaving_an_early_answer_to_an_upload_lets_the_provider_go(sluice: Sluice, upstream: Upstream):
    """The provider answers before it has the whole body; nobody reads the body's rest then."""
    upstream.early = True
    upstream.answers([stream_head(), Chunk(b"data: 1\n\n"), NEVER])
    call = new_id()
    peer = connect(sluice)
    fields = {"content_type": "application/octet-stream", "content_length": "1000", "x_correlation_id": call}
    peer.sendall(request_bytes(sluice, b"x", path="/v1/files", **fields))
    answer = answer_on(peer)
    assert answer.read1(3)
    answer.close()
    peer.close()
    check_let_go(upstream.last, time.monotonic())
    check_row(sluice, call, 200)
