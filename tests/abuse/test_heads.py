"""P25: heads that are malformed, too large or too slow, and targets that lead elsewhere."""

from __future__ import annotations

import json
import time

import pytest

from tests.kit.ledger import row_of
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.wire import CHAT, connect, read_reply, request, send, sized, statuses, still_serves

GET = b"GET /v1/models HTTP/1.1"

HEADS = {
    "no host": request("k", line=GET, host=b""),
    "two hosts": request("k", b"host: b", line=GET),
    "host of two names": request("k", line=GET, host=b"host: a b"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown version": request("k", line=b"GET /v1/models HTTP/9.9"),
    "no version": b"GET /v1/models\r\n\r\n",
    "version in small letters": request("k", line=b"GET /v1/models http/1.1"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "zeros": b"\0" * 1000,
    "random": bytes((n * 167 + 13) % 256 for n in range(5000)),
    "long garbage": b"A" * 200_000,
    "unknown method": request("k", line=b"FOO /v1/models HTTP/1.1"),
    "method in small letters": request("k", line=b"get /v1/models HTTP/1.1"),
    "space in the target": request("k", line=b"GET /v1/mod els HTTP/1.1"),
    "control character in the target": request("k", line=b"GET /v1/mod\x01els HTTP/1.1"),
    "NUL in the target": request("k", line=b"GET /v1/mod\0els HTTP/1.1"),
    "bytes above ASCII in the target": request("k", line=b"GET /v1/\xff\xfe HTTP/1.1"),
    "empty target": request("k", line=b"GET  HTTP/1.1"),
    "target without a slash": request("k", line=b"GET v1/models HTTP/1.1"),
    "CONNECT": request("k", line=b"CONNECT example.org:443 HTTP/1.1"),
    "huge request line": request("k", line=b"GET /v1/" + b"a" * 100_000 + b" HTTP/1.1"),
    "huge header": request("k", b"x-a: " + b"a" * 100_000, line=GET),
    "many headers": request("k", *(b"x-%d: %s" % (n, b"a" * 50) for n in range(2000)), line=GET),
    "huge name": request("k", b"x" * 100_000 + b": 1", line=GET),
    "huge head that never ends": request("k", line=GET)[:-2] + b"x-a: a\r\n" * 30_000,
}


WITHOUT_A_TARGET = {
    "HTTP/2 preface", "TLS", "zeros", "random", "long garbage", "unknown method", "method in small letters",
    "control character in the target", "NUL in the target", "bytes above ASCII in the target", "empty target",
    "target without a slash", "CONNECT",
}  # fmt: skip
"""Nobody can say what was asked for, so there is nothing to record."""


@pytest.mark.parametrize("case", HEADS)
def test_a_bad_head_is_a_4xx_in_openais_shape(strict: Sluice, upstream: Upstream, key: str, case: str):
    replies = send(strict, HEADS[case].replace(b"Bearer k", b"Bearer " + key.encode()))
    assert replies, "closed without an answer"
    assert all(400 <= reply.status < 500 and reply.error for reply in replies), replies
    assert upstream.requests == []
    still_serves(strict, key)
    is_recorded = "x-request-id" in replies[0].headers
    assert is_recorded == (case not in WITHOUT_A_TARGET)
    if is_recorded:
        row = row_of(strict, replies[0].headers["x-request-id"])
        told = (replies[0].status, "refused", replies[0].error["code"])
        assert (row["status_code"], row["outcome"], row["error"]) == told


OF_MANAGEMENT = {
    "huge header": (request("k", b"x-a: " + b"a" * 100_000, line=b"GET /api/keys HTTP/1.1"), 431, "headers_too_large"),
    "host of two names": (request("k", line=b"GET /api/keys HTTP/1.1", host=b"host: a b"), 400, "invalid_http"),
    "length": (request("k", b"content-length: x", line=b"POST /api/keys HTTP/1.1"), 400, "invalid_http"),
    "chunk": (
        request("k", b"transfer-encoding: chunked", line=b"POST /api/keys HTTP/1.1", body=b"zz\r\n"),
        400,
        "invalid_http",
    ),
}


@pytest.mark.parametrize("case", OF_MANAGEMENT)
def test_under_api_it_is_in_the_shape_of_the_management_api(strict: Sluice, case: str):
    raw, status, code = OF_MANAGEMENT[case]
    [reply] = send(strict, raw)
    document = json.loads(reply.body)
    assert (reply.status, reply.headers["content-type"]) == (status, "application/json")
    assert (set(document), document["code"]) == ({"detail", "code", "errors"}, code)


@pytest.mark.parametrize("size", [10_000, 60_000])
def test_a_large_head_within_the_bound_is_taken(strict: Sluice, upstream: Upstream, key: str, size: int):
    raw = request(key, sized(CHAT), b"connection: close", b"x-large: " + b"a" * size, body=CHAT)
    assert statuses(send(strict, raw)) == [200]


@pytest.mark.elapsed
@pytest.mark.parametrize("start", [b"", b"G", b"GET /v1/models HT", b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx-"])
def test_a_slow_head_is_not_waited_for(strict: Sluice, upstream: Upstream, key: str, start: bytes):
    with connect(strict) as peer:
        peer.sendall(start)
        began = time.monotonic()
        reply = read_reply(peer)
        assert 0.5 < time.monotonic() - began < 3
    if start:
        assert reply is not None
        assert (reply.status, reply.error["code"]) == (408, "request_timeout")
    still_serves(strict, key)
    if b"models HTTP" in start:
        assert reply is not None
        assert row_of(strict, reply.headers["x-request-id"])["error"] == "request_timeout"


@pytest.mark.elapsed
def test_a_head_that_trickles_in_is_cut_off(strict: Sluice, upstream: Upstream, key: str):
    """Each byte comes in time, the whole does not."""
    raw = request(key, line=GET)
    with connect(strict) as peer:
        began = time.monotonic()
        peer.settimeout(0.1)
        reply = None
        for position in range(len(raw)):
            peer.sendall(raw[position : position + 1])
            try:
                reply = read_reply(peer)
                break
            except TimeoutError:
                continue
        took = time.monotonic() - began
    assert reply is not None
    assert (reply.status, reply.error["code"]) == (408, "request_timeout")
    assert took < 3


def test_many_idle_connections_keep_nobody_out(strict: Sluice, upstream: Upstream, key: str):
    peers = [connect(strict) for _ in range(200)]
    try:
        for peer in peers:
            peer.sendall(b"GET /v1/mo")
        still_serves(strict, key)
    finally:
        for peer in peers:
            peer.close()


TARGETS = [
    b"/v1/../admin/", b"/v1/../../etc/passwd", b"/v1/%2e%2e/admin/", b"/v1/..%2fadmin/", b"/v1/%2e%2e%2fadmin",
    b"/v1/.%2e/admin", b"/v1/files/../../admin", b"/v1/files/..", b"/v1/..", b"/v1/.", b"/v1/\\..\\admin",
    b"/v1/%5c..%5cadmin", b"/v1/files%00", b"/v1/files%0d%0ahost:%20evil", b"/v1/files%0a", b"/v1/%7f", b"/v1/files#..",
    b"/v1", b"/v1/", b"/v1x/models",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_leads_elsewhere_is_refused(strict: Sluice, upstream: Upstream, key: str, target: bytes):
    replies = send(strict, request(key, b"connection: close", line=b"GET " + target + b" HTTP/1.1"))
    assert len(replies) == 1
    assert 400 <= replies[0].status < 500, replies
    if target.startswith(b"/v1/") or target == b"/v1":
        assert replies[0].error
    assert not [r.path for r in upstream.requests if ".." in r.path or not r.path.startswith("/v1/")]


@pytest.mark.parametrize("target", [b"//v1/models", b"/v1//admin", b"/v1/%2e%2e%2e", b"/v1/files/%2525"])
def test_an_odd_target_is_no_server_error(strict: Sluice, upstream: Upstream, key: str, target: bytes):
    replies = send(strict, request(key, b"connection: close", line=b"GET " + target + b" HTTP/1.1"))
    assert [reply.status < 500 for reply in replies] == [True]


def test_an_absolute_target_is_taken_for_its_path(strict: Sluice, upstream: Upstream, key: str):
    line = b"GET http://elsewhere.example/v1/files?a=1 HTTP/1.1"
    replies = send(strict, request(key, b"connection: close", line=line))
    assert statuses(replies) in ([200], [400])
    if replies[0].status == 200:
        assert (upstream.last.path, upstream.last.query) == ("/v1/files", "a=1")
        assert "elsewhere" not in (upstream.last.header("host") or "")


def test_where_in_a_head_the_length_stands_changes_nothing(strict: Sluice, upstream: Upstream, key: str):
    """Requests of one connection, whose heads are compared with each other."""
    own = [b"host: sluice", b"authorization: Bearer " + key.encode(), b"content-type: application/json", b"x-a: 1"]
    with connect(strict) as peer:
        for at in (4, 0, 2, None, 4, None, 1, 1, 3, 0):
            body = b"" if at is None else CHAT[:-1] + b" " * (at or 7) + b"}"
            lines = [GET if at is None else b"POST /v1/chat/completions HTTP/1.1", *own]
            if at is not None:
                lines.insert(at + 1, sized(body))
            peer.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            reply = read_reply(peer)
            assert reply is not None
            assert reply.status == 200
            if body:
                assert upstream.requests[-1].body == body
