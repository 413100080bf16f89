"""The player on sockets: HTTP as it is sent, and what happens when it breaks."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from tests.kit.simulations import HELLO, chat, data_of, request_bytes, stats
from tests.kit.waiting import soon
from tests.kit.wire import connect, receive


def body_of(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[2]


def unchunked(raw: bytes) -> bytes:
    """The body of a chunked answer; fails unless it ends properly."""
    data, rest = b"", body_of(raw)
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert rest == b"\r\n"
            return data
        data, rest = data + rest[:length], rest[length + 2 :]


def test_a_plain_answer_on_the_wire(port):
    with connect(port) as connection:
        connection.sendall(request_bytes())
        assert body_of(receive(connection, until=data_of(chat()))) == data_of(chat())


def test_a_stream_on_the_wire(port):
    with connect(port) as connection:
        connection.sendall(request_bytes(body={"stream": True}))
        assert unchunked(receive(connection, until=b"\r\n0\r\n\r\n")) == data_of(chat(stream=True))


def test_pipelined_requests_are_answered_in_order(port):
    kinds: list[dict[str, Any]] = [
        {},
        {"stream": True},
        {"n": 2},
        {"simulate": {"delay_ms": 30}},
        {},
        {"stream": True},
    ] * 20
    asked = [{**kind, "user": str(number)} for number, kind in enumerate(kinds)]
    requests = [request_bytes(body=body) for body in asked[:-1]]
    with connect(port) as connection:
        connection.sendall(b"".join(requests) + request_bytes("/v1/chat/completions", asked[-1], "connection: close"))
        raw = receive(connection)
    assert raw.count(b"HTTP/1.1 200 OK") == len(kinds)
    ids = [re.findall(rb'"id":"[^"]*"', data_of(chat(**body)))[0] for body in asked]
    places = [raw.index(name) for name in ids]
    assert places == sorted(places)


def test_a_chunked_request_is_read(port):
    data = json.dumps(HELLO).encode()
    with connect(port) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for byte in data:
            connection.sendall(b"1\r\n%c\r\n" % byte)
        connection.sendall(b"0\r\n\r\n")
        raw = receive(connection, until=b"fp_simulator")
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body_of(raw)[:60] == data_of(chat())[:60]


def test_http_1_0_gets_no_chunks_and_an_end(port):
    with connect(port) as connection:
        connection.sendall(request_bytes(body={"stream": True}, version="1.0"))
        raw = receive(connection)
    assert b"transfer-encoding" not in raw
    assert body_of(raw) == data_of(chat(stream=True))


def test_connection_close_is_honoured(port):
    with connect(port) as connection:
        connection.sendall(request_bytes("/v1/chat/completions", {}, "connection: close"))
        raw = receive(connection)
    assert b"\r\nconnection: close\r\n" in raw
    assert body_of(raw) == data_of(chat())


def test_expect_continue_is_answered(port):
    request = request_bytes("/v1/chat/completions", {}, "expect: 100-continue", "connection: close")
    head, _, data = request.partition(b"\r\n\r\n")
    with connect(port) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert receive(connection, until=b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(data)
        assert receive(connection).startswith(b"HTTP/1.1 200")


def test_an_upgrade_is_ignored_and_the_connection_closed(port):
    with connect(port) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
        raw = receive(connection)
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in raw


@pytest.mark.parametrize(
    "raw, status",
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(300)) + b"\r\n", 431),
    ],
)
def test_what_is_not_http_is_refused_and_dropped(port, raw, status):
    with connect(port) as connection:
        connection.sendall(raw)
        assert receive(connection).startswith(b"HTTP/1.1 %d " % status)


def test_a_cut_stream_has_no_proper_end(port):
    with connect(port) as connection:
        connection.sendall(request_bytes(body={"stream": True, "simulate": {"fault": {"kind": "cut", "after": 5}}}))
        raw = receive(connection)
    assert raw.count(b'"content":') == 6
    assert not raw.endswith(b"0\r\n\r\n")


def test_a_cut_comes_after_all_that_was_written(port):
    with connect(port) as connection:
        simulate = {"tokens": 20_000, "fault": {"kind": "cut", "after": 20_000}}
        connection.sendall(request_bytes(body={"stream": True, "simulate": simulate}))
        time.sleep(0.1)
        assert receive(connection).count(b'"content":') == 20_001


def test_a_reset_is_a_reset(port):
    with connect(port) as connection:
        connection.sendall(request_bytes(body={"simulate": {"fault": {"kind": "reset"}}}))
        with pytest.raises(ConnectionResetError):
            receive(connection)


@pytest.mark.parametrize(
    "body",
    [
        {"stream": True, "simulate": {"fault": {"kind": "stall", "after": 2}}},
        {"simulate": {"fault": {"kind": "slow_first_byte", "seconds": 60}}},
        {"stream": True, "simulate": {"tokens_per_second": 5, "tokens": 1000}},
    ],
)
def test_the_peer_going_away_is_seen_and_counted(port, body):
    before = stats(port)
    with connect(port) as connection:
        connection.sendall(request_bytes(body=body))
        soon(lambda: stats(port)["open"] == before["open"] + 1)
        assert stats(port)["peak_open"] >= 1
    soon(lambda: stats(port)["closed_by_peer"] == before["closed_by_peer"] + 1)
    assert stats(port)["open"] == before["open"]
    assert stats(port)["requests"] == before["requests"] + 1


def test_answers_that_came_to_their_end_are_not_counted_as_closed(port):
    before = stats(port)
    for body in ({}, {"stream": True}, {"simulate": {"fault": {"kind": "cut"}}}):
        with connect(port) as connection:
            connection.sendall(request_bytes("/v1/chat/completions", body, "connection: close"))
            receive(connection)
    assert stats(port)["closed_by_peer"] == before["closed_by_peer"]


def test_a_slow_reader_does_not_make_it_run_ahead(port):
    """What the simulator may hold is its write buffer; the kernel's buffers hold some megabytes besides."""
    with connect(port) as connection:
        connection.sendall(request_bytes(body={"stream": True, "simulate": {"tokens": 200_000}}))
        soon(lambda: stats(port)["open"] == 1)
        time.sleep(0.5)
        assert stats(port)["open"] == 1
        assert receive(connection, until=b"0\r\n\r\n").count(b'"content":') == 200_001


def test_a_repeated_request_is_answered_by_the_same_bytes(port):
    with connect(port) as connection:
        answers = []
        for _ in range(3):
            connection.sendall(request_bytes())
            answers.append(receive(connection, until=data_of(chat())))
    assert len(set(answers)) == 1


def test_flapping_is_never_answered_from_memory(port):
    statuses = []
    for _ in range(4):
        with connect(port) as connection:
            body = {"simulate": {"fault": {"kind": "flap", "period": 2}}}
            connection.sendall(request_bytes("/v1/chat/completions", body, "connection: keep-alive"))
            statuses.append(receive(connection, until=b"\r\n\r\n")[9:12])
    assert sorted(statuses) == [b"200", b"200", b"500", b"500"]
