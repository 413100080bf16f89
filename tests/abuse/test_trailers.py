"""X4: what stands around the content of a chunked body has bounds, and one request has one answer."""

from __future__ import annotations

import pytest

from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.wire import CHAT, connect, read_reply, request, send, statuses, still_serves

CHUNKED = b"transfer-encoding: chunked"
CONTENT = b"%x\r\n%b\r\n" % (len(CHAT), CHAT)
TOO_LARGE = {
    "one large trailer": CONTENT + b"0\r\nx-a: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "many trailers": CONTENT + b"0\r\n" + b"x: y\r\n" * 200_000 + b"\r\n",
    "trailers that never end": CONTENT + b"0\r\n" + b"x: y\r\n" * 200_000,
    "a large chunk extension": b"%x;a=" % len(CHAT) + b"b" * 1_000_000 + b"\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "an extension that never ends": b"%x;a=" % len(CHAT) + b"b" * 1_000_000,
    "an extension of the last chunk": CONTENT + b"0;a=" + b"b" * 1_000_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_what_is_no_content_has_a_bound(strict: Sluice, upstream: Upstream, key: str, case: str):
    [reply] = send(strict, request(key, CHUNKED, body=TOO_LARGE[case]))
    assert (reply.status, reply.error["code"]) == (431, "headers_too_large")
    assert not upstream.requests
    still_serves(strict, key)


@pytest.mark.parametrize("body", [
    CONTENT + b"0\r\n" + b"x: y\r\n" * 5_000 + b"\r\n",
    b"%x;a=" % len(CHAT) + b"b" * 30_000 + b"\r\n" + CHAT + b"\r\n0\r\n\r\n",
], ids=["trailers", "extension"])  # fmt: skip
def test_what_is_within_the_bound_is_taken(strict: Sluice, upstream: Upstream, key: str, body: bytes):
    assert statuses(send(strict, request(key, CHUNKED, b"connection: close", body=body))) == [200]


LATE = {
    "bad trailer": b"0\r\nnonsense\r\n\r\n",
    "bad chunk": b"ZZ\r\n",
    "large trailer": b"0\r\nx-a: " + b"a" * 1_000_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/provider"], ids=["401", "404"])
def test_a_request_that_was_answered_early_gets_no_second_answer(strict: Sluice, path: bytes, late: str):
    with connect(strict) as peer:
        peer.sendall(request("nobody", CHUNKED, line=b"POST " + path + b" HTTP/1.1", body=b"5\r\nhello\r\n"))
        first = read_reply(peer)
        assert first is not None
        assert first.status in (401, 404)
        try:
            peer.sendall(LATE[late])
        except (BrokenPipeError, ConnectionResetError):
            return
        assert read_reply(peer) is None
