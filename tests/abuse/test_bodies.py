"""P25: bodies that are malformed, too large, or never end."""

from __future__ import annotations

import time

import pytest

from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer
from tests.kit.wire import CHAT, chunked, connect, read_reply, request, send, sized, statuses, still_serves
from tests.kit.wire import LARGEST_BODY as MAX_PAYLOAD_BYTES

CHUNKED = b"transfer-encoding: chunked"
CLOSE = b"connection: close"
DEEP = 100_000

BODIES = {
    "empty": b"",
    "white space": b"  \n",
    "array": b'[{"model":"m"}]',
    "text": b'"model"',
    "number": b"12",
    "null": b"null",
    "true": b"true",
    "cut off": b'{"model":"m","messages":[',
    "not JSON": b"model=m",
    "single quotes": b"{'model':'m'}",
    "trailing comma": b'{"model":"m",}',
    "comment": b'{"model":"m"/* x */}',
    "two documents": b'{"model":"m"}{"model":"n"}',
    "bad UTF-8 in a value": b'{"model":"m","messages":"\xff\xfe"}',
    "bad UTF-8 in a name": b'{"model":"m","\xff":1}',
    "bad UTF-8 in the model": b'{"model":"\xc3\x28"}',
    "overlong UTF-8": b'{"model":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"model":"\xed\xa0\x80"}',
    "lone surrogate in the model": b'{"model":"\\ud800"}',
    "bad escape in the model": b'{"model":"\\x41"}',
    "bad escape in a name": b'{"model":"m","\\x41":1}',
    "bare control character in the model": b'{"model":"a\nb"}',
    "NUL": b'{"model":"m\0"}',
    "escaped NUL in the model": b'{"model":"m\\u0000"}',
    "UTF-16": '{"model":"m"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"model":"m"}',
    "NaN": b'{"model":"m","temperature":NaN}',
    "Infinity": b'{"model":"m","temperature":-Infinity}',
    "NaN for the model": b'{"model":NaN}',
    "leading zero": b'{"model":"m","n":01}',
    "deep arrays": b'{"model":"m","messages":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"model":"m","messages":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "deep and cut off": b'{"a":' * DEEP,
    "deep model": b'{"model":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep array alone": b"[" * DEEP,
    "no model": b"{}",
    "model null": b'{"model":null}',
    "model empty": b'{"model":""}',
    "model a number": b'{"model":7}',
    "model a huge number": b'{"model":' + b"9" * 5000 + b"}",
    "model a huge exponent": b'{"model":1e99999}',
    "model an object": b'{"model":{"a":1}}',
    "model true": b'{"model":true}',
    "model too long": b'{"model":"' + b"m" * 5000 + b'"}',
    "stream a text": b'{"model":"m","stream":"yes"}',
    "stream a huge number": b'{"model":"m","stream":' + b"9" * 5000 + b"}",
    "stream a huge exponent": b'{"model":"m","stream":1e99999}',
}


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/responses"])
def test_a_bad_body_is_a_400(strict: Sluice, upstream: Upstream, key: str, path: bytes, case: str):
    raw = request(key, sized(BODIES[case]), CLOSE, line=b"POST " + path + b" HTTP/1.1", body=BODIES[case])
    replies = send(strict, raw)
    assert statuses(replies) == [400], replies
    assert replies[0].error["type"] == "invalid_request_error"
    assert replies[0].error["code"]
    assert upstream.requests == []


ODD = {
    "stream_options a text": b'{"model":"m","stream":true,"stream_options":"x"}',
    "stream_options a huge number": b'{"model":"m","stream":true,"stream_options":' + b"9" * 5000 + b"}",
    "stream_options a lone surrogate": b'{"model":"m","stream":true,"stream_options":"\\ud800"}',
    "stream_options with a huge number": b'{"model":"m","stream":true,"stream_options":{"include_usage":1e99999}}',
    "stream_options deep": b'{"model":"m","stream":true,"stream_options":' + b"[" * 400 + b"]" * 400 + b"}",
    "lone surrogate in a name": b'{"model":"m","\\ud800":1}',
    "cache_skip odd": b'{"model":"m","cache_skip":"\\ud800"}',
    "duplicate names": b'{"model":"m","a":"\\ud800","a":1}',
    "duplicate names with a huge number": b'{"model":"m","a":' + b"9" * 5000 + b',"a":1}',
    "duplicate names and depth": b'{"model":"m","a":1,"a":' + b"[" * 900 + b"]" * 900 + b"}",
    "a space and a huge number": b'{"model":"m", "a":' + b"9" * 5000 + b"}",
    "a space and depth": b'{"model":"m", "a":' + b"[" * 990 + b"]" * 990 + b"}",
    "huge number": b'{"model":"m","n":' + b"9" * 5000 + b"}",
    "huge exponent": b'{"model":"m","n":1e99999}',
    "many members": b'{"model":"m",' + b",".join(b'"k%d":0' % n for n in range(50_000)) + b"}",
    "emoji": '{"model":"m","user":"🦥"}'.encode(),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/responses", b"/v1/embeddings", b"/v1/moderations"])
def test_an_odd_body_is_no_server_error(strict: Sluice, upstream: Upstream, key: str, path: bytes, case: str):
    """Taken as it is, or refused as the client's."""
    upstream.script = chat_answer()
    raw = request(key, sized(ODD[case]), CLOSE, line=b"POST " + path + b" HTTP/1.1", body=ODD[case])
    replies = send(strict, raw)
    assert len(replies) == 1
    assert replies[0].status in (200, 400), replies
    assert replies[0].status == 200 or replies[0].error["code"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
)
def test_another_content_type_is_415(strict: Sluice, upstream: Upstream, key: str, content_type: str):
    raw = request(key, sized(CHAT), CLOSE, body=CHAT).replace(b"application/json", content_type.encode())
    replies = send(strict, raw)
    assert statuses(replies) == [415]
    assert replies[0].error["code"] == "unsupported_media_type"
    assert upstream.requests == []


@pytest.mark.parametrize(
    "line, status, code",
    [
        (b"GET /v1/embeddings HTTP/1.1", 405, "method_not_allowed"),
        (b"DELETE /v1/chat/completions HTTP/1.1", 405, "method_not_allowed"),
        (b"POST /v1/models HTTP/1.1", 405, "method_not_allowed"),
        (b"GET /v1/ HTTP/1.1", 404, "not_found"),
        (b"GET /v1 HTTP/1.1", 404, "not_found"),
        (b"POST /v1 HTTP/1.1", 404, "not_found"),
    ],
)
def test_a_wrong_method_or_path_is_told(
    strict: Sluice, upstream: Upstream, key: str, line: bytes, status: int, code: str
):
    replies = send(strict, request(key, b"content-length: 0", CLOSE, line=line))
    assert [(reply.status, reply.error["code"]) for reply in replies] == [(status, code)]
    assert (status == 405) == ("allow" in replies[0].headers)
    assert upstream.requests == []


@pytest.mark.elapsed
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/files"], ids=["read", "passed"])
def test_a_declared_length_beyond_the_bound_is_413_before_the_body(
    strict: Sluice, upstream: Upstream, key: str, path: bytes
):
    head = request(key, b"content-length: %d" % (MAX_PAYLOAD_BYTES + 1), line=b"POST " + path + b" HTTP/1.1")
    with connect(strict) as peer:
        began = time.monotonic()
        peer.sendall(head)
        reply = read_reply(peer)
        assert time.monotonic() - began < 0.8
    assert reply is not None
    assert (reply.status, reply.error["code"]) == (413, "payload_too_large")
    assert not [r for r in upstream.requests if r.complete.is_set()]


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/files"], ids=["read", "passed"])
@pytest.mark.parametrize("framing", ["chunks", "length"])
def test_a_body_beyond_the_bound_is_413_that_the_client_can_read(
    strict: Sluice, upstream: Upstream, key: str, path: bytes, framing: str
):
    """The client sends all of it before it reads: to close at once would reset the connection under the answer."""
    body = b"x" * (MAX_PAYLOAD_BYTES * 8)
    chunks = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    line = b"POST " + path + b" HTTP/1.1"
    if framing == "chunks":
        raw = request(key, CHUNKED, CLOSE, line=line, body=chunked(*chunks))
    else:
        raw = request(key, sized(body), CLOSE, line=line, body=body)
    replies = send(strict, raw)
    assert [(reply.status, reply.error["code"]) for reply in replies] == [(413, "payload_too_large")]
    assert not [r for r in upstream.requests if r.complete.is_set()]
    still_serves(strict, key)


@pytest.mark.elapsed
@pytest.mark.parametrize("framing", [b"content-length: 1000", CHUNKED])
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/files"], ids=["read", "passed"])
def test_a_body_that_never_ends_is_408(strict: Sluice, upstream: Upstream, key: str, path: bytes, framing: bytes):
    start = b'{"model":' if framing != CHUNKED else b'9\r\n{"model":\r\n'
    began = time.monotonic()
    replies = send(strict, request(key, framing, line=b"POST " + path + b" HTTP/1.1", body=start))
    assert 0.5 < time.monotonic() - began < 3.5
    assert [(reply.status, reply.error["code"]) for reply in replies] == [(408, "request_timeout")]
    assert not [r for r in upstream.requests if r.complete.is_set()]


@pytest.mark.elapsed
def test_a_body_that_trickles_in_is_cut_off(strict: Sluice, upstream: Upstream, key: str):
    head = request(key, b"content-length: 1000")
    began = time.monotonic()
    replies = send(strict, head, *[b" "] * 40, every=0.1)
    assert time.monotonic() - began < 20
    assert statuses(replies) == [408]
