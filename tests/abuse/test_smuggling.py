"""P25: a request that two readers could take for two different ones is refused, and nothing of it goes up."""

from __future__ import annotations

import json

import pytest

from tests.kit.ledger import row_of
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.wire import CHAT, chunked, request, send, sized, statuses, still_serves

CHUNKED = b"transfer-encoding: chunked"
HIDDEN = b"POST /v1/smuggled HTTP/1.1\r\nhost: s\r\ncontent-length: 0\r\n\r\n"
HIDDEN_IN_CHUNKS = b"0\r\n\r\n" + HIDDEN

AMBIGUOUS = {
    "length and chunks": ((sized(CHAT), CHUNKED), chunked(CHAT)),
    "chunks and length": ((CHUNKED, b"content-length: 4"), HIDDEN_IN_CHUNKS),
    "length and other coding": ((sized(CHAT), b"transfer-encoding: identity"), CHAT),
    "two lengths": ((b"content-length: 5", sized(CHAT)), CHAT),
    "a list of lengths": ((b"content-length: 5, %d" % len(CHAT),), CHAT),
    "negative length": ((b"content-length: -1",), CHAT),
    "length with a sign": ((b"content-length: +%d" % len(CHAT),), CHAT),
    "length in hexadecimal": ((b"content-length: 0x26",), CHAT),
    "length with a space in it": ((b"content-length: 3 8",), CHAT),
    "length that overflows": ((b"content-length: 99999999999999999999999",), CHAT),
    "empty length": ((b"content-length:",), CHAT),
    "length with underscores": ((b"content-length: 3_8",), CHAT),
    "space before the colon of a length": ((b"content-length : %d" % len(CHAT),), CHAT),
    "space before the colon of chunks": ((b"transfer-encoding : chunked",), chunked(CHAT)),
    "tab before the colon of chunks": ((b"transfer-encoding\t: chunked",), chunked(CHAT)),
    "unknown coding": ((b"transfer-encoding: xchunked",), chunked(CHAT)),
    "quoted coding": ((b'transfer-encoding: "chunked"',), chunked(CHAT)),
    "chunked first": ((b"transfer-encoding: chunked, identity",), chunked(CHAT)),
    "vertical tab before the coding": ((b"transfer-encoding: \x0bchunked",), chunked(CHAT)),
    "underscored name": ((b"transfer_encoding: chunked", b"content-length: 5"), chunked(CHAT)[:4]),
    "folded coding": ((b"transfer-encoding:\r\n chunked",), chunked(CHAT)),
    "folded header": ((b"x-a: 1\r\n content-length: 3", sized(CHAT)), CHAT),
    "space in a name": ((b"x a: 1", sized(CHAT)), CHAT),
    "no name": ((b": 1", sized(CHAT)), CHAT),
    "no colon": ((b"nonsense", sized(CHAT)), CHAT),
    "NUL in a name": ((b"x\0a: 1", sized(CHAT)), CHAT),
    "NUL in a value": ((b"x-a: 1\0 2", sized(CHAT)), CHAT),
    "bare CR in a value": ((b"x-a: 1\rcontent-length: 0", sized(CHAT)), CHAT),
    "control character in a value": ((b"x-a: \x01", sized(CHAT)), CHAT),
    "DEL in a value": ((b"x-a: \x7f", sized(CHAT)), CHAT),
}
CHUNKS = {
    "no number": b"zz\r\nabc\r\n0\r\n\r\n",
    "negative": b"-1\r\nabc\r\n0\r\n\r\n",
    "prefixed": b"0x3\r\nabc\r\n0\r\n\r\n",
    "signed": b"+3\r\nabc\r\n0\r\n\r\n",
    "too large for any number": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "larger than allowed": b"7fffffffffffffff\r\nabc",
    "data longer than its size": b"3\r\nabcdef\r\n0\r\n\r\n",
    "no line end after the data": b"3\r\nabc0\r\n\r\n",
    "bare LF": b"3\nabc\n0\n\n",
    "space before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "empty size": b"\r\nabc\r\n0\r\n\r\n",
    "CR in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "bad trailer": b"3\r\nabc\r\n0\r\nnonsense\r\n\r\n",
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_an_ambiguous_request_is_refused(strict: Sluice, upstream: Upstream, key: str, case: str):
    headers, body = AMBIGUOUS[case]
    replies = send(strict, request(key, *headers, body=body))
    assert replies, "closed without an answer"
    assert 400 <= replies[0].status < 500, replies[0]
    assert replies[0].error
    assert len(replies) == 1
    assert upstream.requests == []
    still_serves(strict, key)
    row = row_of(strict, replies[0].headers["x-request-id"])
    told = (replies[0].status, "refused", replies[0].error["code"])
    assert (row["status_code"], row["outcome"], row["error"]) == told
    assert (row["method"], row["endpoint"]) == ("POST", "/v1/chat/completions")


@pytest.mark.parametrize("case", CHUNKS)
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/files"], ids=["read", "passed"])
def test_a_body_in_broken_chunks_is_refused(strict: Sluice, upstream: Upstream, key: str, case: str, path: bytes):
    replies = send(strict, request(key, CHUNKED, line=b"POST " + path + b" HTTP/1.1", body=CHUNKS[case]))
    assert replies, "closed without an answer"
    assert 400 <= replies[0].status < 500, replies[0]
    assert replies[0].error
    assert len(replies) == 1
    assert not [received for received in upstream.requests if received.complete.is_set()]
    still_serves(strict, key)
    if request_id := replies[0].headers.get("x-request-id"):
        row = row_of(strict, request_id)
        assert (row["status_code"], row["outcome"]) == (replies[0].status, "refused")


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/files"], ids=["read", "passed"])
def test_a_body_that_breaks_later_is_refused_and_has_its_row(strict: Sluice, key: str, path: bytes):
    raw = request(key, CHUNKED, line=b"POST " + path + b" HTTP/1.1", body=b"5\r\nhello\r\nZZ\r\n")
    [reply] = send(strict, raw)
    assert (reply.status, reply.error["code"]) == (400, "invalid_http")
    row = row_of(strict, reply.headers["x-request-id"])
    assert (row["status_code"], row["outcome"], row["error"]) == (400, "refused", "invalid_http")


def test_a_body_that_breaks_on_the_control_plane_is_refused(strict: Sluice, key: str):
    raw = request(key, CHUNKED, line=b"POST /api/keys HTTP/1.1", body=b"5\r\nhello\r\nZZ\r\n")
    [reply] = send(strict, raw)
    assert 400 <= reply.status < 500


@pytest.mark.parametrize("path", [b"/health", b"/api/keys", b"/admin/", b"/v1/keys", b"/v1/auth/login"])
def test_a_bad_head_for_another_than_the_data_plane_is_refused(strict: Sluice, key: str, path: bytes):
    [reply] = send(strict, request(key, b"x-a: 1\0 2", line=b"GET " + path + b" HTTP/1.1"))
    error = json.loads(reply.body) if path.startswith(b"/api/") else reply.error
    assert (reply.status, error["code"], reply.headers["connection"]) == (400, "invalid_http", "close")
    assert "x-request-id" not in reply.headers
    still_serves(strict, key)


@pytest.mark.parametrize(
    "raw",
    [
        request("{key}", CHUNKED, b"content-length: 6", body=b"0\r\n\r\nG" + HIDDEN),
        request("{key}", b"content-length: 5", b"content-length: 5", body=b"{}   " + HIDDEN),
        request("{key}", b"x: y\n" + HIDDEN, sized(CHAT), body=CHAT),
        request("{key}", b"x: y\rz" + HIDDEN, sized(CHAT), body=CHAT),
        request("{key}", b"expect: 100-continue", b"content-length: 4", CHUNKED, body=HIDDEN_IN_CHUNKS),
    ],
    ids=["length and chunks", "two lengths", "bare LF", "bare CR", "with expect"],
)
def test_no_second_request_is_smuggled_in(strict: Sluice, upstream: Upstream, key: str, raw: bytes):
    replies = send(strict, raw.replace(b"{key}", key.encode()))
    assert all(400 <= status < 500 for status in statuses(replies)), replies
    assert not [received for received in upstream.requests if "smuggled" in received.path]
    still_serves(strict, key)


def test_what_is_left_after_a_refusal_is_not_taken_for_a_request(strict: Sluice, upstream: Upstream, key: str):
    """The connection ends with the refusal: where the next request would begin, nobody knows."""
    bad = request(key, b"content-length: x", body=b"")
    good = request(key, sized(CHAT), body=CHAT)
    assert statuses(send(strict, bad + good)) == [400]
    assert upstream.requests == []


def test_good_chunks_are_put_together(strict: Sluice, upstream: Upstream, key: str):
    for body in (
        chunked(CHAT[:5], CHAT[5:]),
        b"".join(chunked(CHAT[at : at + 1])[:-5] for at in range(len(CHAT))) + b"0\r\n\r\n",
        b"26;name=value\r\n" + CHAT + b"\r\n0\r\n\r\n",
        b"00000026\r\n" + CHAT + b"\r\n000\r\nx-trailer: 1\r\n\r\n",
    ):
        assert statuses(send(strict, request(key, CHUNKED, b"connection: close", body=body))) == [200]
        assert upstream.last.json()["model"] == "gpt-4.1-mini"
        assert upstream.last.header("x-trailer") is None
