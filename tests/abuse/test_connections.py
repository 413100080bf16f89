"""P25: several requests on a connection, `Expect`, HTTP/1.0, headers that would inject, and the rows of it all."""

from __future__ import annotations

import json

import pytest

from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import soon
from tests.kit.wire import CHAT, connect, read_reply, request, send, sized, statuses, still_serves

GET = b"GET /v1/models HTTP/1.1"


def test_requests_that_do_not_wait_for_their_turn_are_not_begun(strict: Sluice, upstream: Upstream, key: str):
    raws = [request(key, sized(CHAT), b"x-correlation-id: c%d" % n, body=CHAT) for n in range(20)]
    replies = send(strict, b"".join(raws), expect=20)
    assert statuses(replies) == [200]
    assert replies[0].headers["x-correlation-id"] == "c0"
    assert replies[0].headers["connection"] == "close"
    assert len(upstream.requests) == 1
    still_serves(strict, key)


def test_the_answer_arrives_whole_however_much_was_sent_behind(strict: Sluice, upstream: Upstream, key: str):
    """To close while the client's bytes come would reset the connection, and take the answer with it."""
    good, much = request(key, sized(CHAT), body=CHAT), b"x" * 2_000_000
    with connect(strict) as peer:
        peer.sendall(good + request(key, sized(much), line=b"POST /v1/files HTTP/1.1"))
        peer.sendall(much)
        reply = read_reply(peer)
        assert reply is not None
        assert reply.status == 200
        assert read_reply(peer) is None


def test_a_refusal_is_answered_before_what_was_sent_behind_it_is_dropped(strict: Sluice, upstream: Upstream, key: str):
    good, bad = request(key, sized(CHAT), body=CHAT), request(key, sized(b"{}"), body=b"{}")
    assert statuses(send(strict, bad + good + good, expect=3)) == [400]


def test_what_breaks_a_pipeline_ends_it_after_the_answers_before(strict: Sluice, upstream: Upstream, key: str):
    good = request(key, sized(CHAT), body=CHAT)
    replies = send(strict, good + b"\0garbage\r\n\r\n" + good)
    assert statuses(replies) in ([200, 400], [200], [400])
    still_serves(strict, key)


def test_expect_100_continue_is_answered_before_the_body(strict: Sluice, upstream: Upstream, key: str):
    with connect(strict) as peer:
        peer.sendall(request(key, b"expect: 100-continue", sized(CHAT)))
        interim = read_reply(peer)
        assert interim is not None
        assert interim.status == 100
        peer.sendall(CHAT)
        reply = read_reply(peer)
        assert reply is not None
        assert reply.status == 200


@pytest.mark.parametrize(
    "raw, status",
    [
        (request("{key}", b"expect: 100-continue", b"content-length: 99000000"), 413),
        (request("sk-none", b"expect: 100-continue", b"content-length: 10", line=b"POST /v1/files HTTP/1.1"), 401),
    ],
)
def test_a_refusal_comes_instead_of_100_continue(strict: Sluice, upstream: Upstream, key: str, raw: bytes, status: int):
    with connect(strict) as peer:
        peer.sendall(raw.replace(b"{key}", key.encode()))
        reply = read_reply(peer)
        assert reply is not None
        assert reply.status == status
        assert reply.error


def test_http_1_0_is_served_and_closed(strict: Sluice, upstream: Upstream, key: str):
    with connect(strict) as peer:
        peer.sendall(request(key, line=b"GET /v1/models HTTP/1.0", host=b""))
        reply = read_reply(peer)
        assert reply is not None
        assert reply.status == 200
        assert read_reply(peer) is None


def test_a_stream_to_http_1_0_is_not_chunked(strict: Sluice, upstream: Upstream, key: str):
    body = CHAT[:-1] + b',"stream":true}'
    with connect(strict) as peer:
        peer.sendall(request(key, sized(body), line=b"POST /v1/chat/completions HTTP/1.0", body=body))
        whole = b""
        while piece := peer.recv(65_536):
            whole += piece
    head, _, text = whole.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert text.startswith(b"data: {")
    assert text.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "name", [b"authorization", b"x-api-key", b"content-type", b"content-length", b"x-preferred-model"]
)
def test_a_header_that_must_stand_once_and_stands_twice_is_refused(
    strict: Sluice, upstream: Upstream, key: str, name: bytes
):
    replies = send(strict, request(key, sized(CHAT), name + b": a", name + b": b", body=CHAT))
    assert statuses(replies) == [400]
    assert replies[0].error
    assert upstream.requests == []


@pytest.mark.parametrize(
    "value", [b"caf\xe9", b"\xf0\x9f\xa6\xa5", b"a\tb", b'a;b,c="d"', b"%0d%0aevil: 1", b"x" * 5000]
)
def test_a_weird_value_injects_nothing_upward_or_back(strict: Sluice, upstream: Upstream, key: str, value: bytes):
    raw = request(
        key, sized(CHAT), b"connection: close", b"x-weird: " + value, b"x-correlation-id: " + value, body=CHAT
    )
    replies = send(strict, raw)
    assert len(replies) == 1
    assert replies[0].status in (200, 400)
    assert "evil" not in replies[0].headers
    if replies[0].status == 200:
        assert upstream.last.header("x-weird") == value.decode("latin-1")
        assert upstream.last.header("evil") is None


def test_an_encoded_line_end_in_the_query_stays_encoded(strict: Sluice, upstream: Upstream, key: str):
    line = b"GET /v1/files?a=%0d%0aevil:%201 HTTP/1.1"
    replies = send(strict, request(key, b"connection: close", line=line))
    assert replies[0].status in (200, 400)
    if replies[0].status == 200:
        assert upstream.last.query == "a=%0d%0aevil:%201"
        assert upstream.last.header("evil") is None


def test_each_request_that_was_understood_leaves_a_row(strict: Sluice, upstream: Upstream, key: str):
    raws = {
        200: request(key, sized(CHAT), body=CHAT),
        400: request(key, sized(b"{"), body=b"{"),
        401: request("sk-none", sized(CHAT), body=CHAT),
        404: request(key, line=b"GET /v1/ HTTP/1.1"),
        405: request(key, line=b"GET /v1/embeddings HTTP/1.1"),
        408: request(key, b"content-length: 10", body=b"{"),
        413: request(key, b"content-length: 99000000"),
        415: request(key, sized(CHAT), body=CHAT).replace(b"application/json", b"text/csv"),
    }
    ids = {}
    for status, raw in raws.items():
        replies = send(strict, raw)
        assert statuses(replies) == [status]
        ids[replies[0].headers["x-request-id"]] = (status, "complete" if status == 200 else "refused")
    assert len(ids) == len(raws)

    def told() -> dict[str, tuple[int, str]]:
        return {row["id"]: (row["status_code"], row["outcome"]) for row in strict.rows() if row["id"] in ids}

    soon(lambda: len(told()) == len(ids))
    assert told() == ids


def test_nothing_of_all_this_was_unforeseen(strict: Sluice, upstream: Upstream, key: str):
    """Runs last in its module: the log of what came before has no traceback."""
    lines = [json.loads(line) for line in strict.log_text().splitlines() if line.startswith("{")]
    assert not [line for line in lines if line["level"] == "error" or "exception" in line]


def test_nothing_behind_a_refused_head_is_served(strict: Sluice, upstream: Upstream, key: str):
    """Who wrote the first one ambiguously may have hidden the second one in it."""
    good = request(key, sized(CHAT), body=CHAT)
    refused = request(key, b"host: elsewhere", sized(CHAT), body=CHAT)
    assert statuses(send(strict, refused + good)) == [400]
    assert not upstream.requests


def test_half_a_head_behind_an_answer_is_not_waited_for(strict: Sluice, upstream: Upstream, key: str):
    """It came while the first request was under way, and nothing follows."""
    with connect(strict) as peer:
        peer.sendall(request(key, sized(CHAT), body=CHAT) + b"GET /v1/models HTTP/1.1\r\nhost: x\r\n")
        first, second = read_reply(peer), read_reply(peer)
        assert first is not None
        assert first.status == 200
        assert second is not None
        assert second.status == 408
