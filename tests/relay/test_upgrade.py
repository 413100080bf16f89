"""A wish for another protocol changes nothing of a request (RFC 9110, section 7.8), least of all where it ends."""

from __future__ import annotations

import json

import pytest

from tests.kit.clients import client_of, key_of, new_id
from tests.kit.ledger import row_of
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, json_answer
from tests.kit.wire import CHAT, chunked, connect, in_turn, read_reply, send, sized

H2C = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA"
WISHES = {
    "h2c": H2C,
    "h2c in capitals": b"Connection: UPGRADE\r\nUpgrade: H2C",
    "websocket": b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAA",
    "TLS": b"connection: upgrade\r\nupgrade: TLS/1.0",
    "several": b"connection: keep-alive, Upgrade\r\nupgrade: a/1, b/2",
    "twice": b"connection: upgrade\r\nupgrade: h2c\r\nupgrade: websocket",
    "empty": b"connection: upgrade\r\nupgrade:",
    "made up": b"connection: upgrade, x-hop\r\nupgrade: teapot\r\nx-hop: 1",
    "without connection": b"upgrade: h2c",
    "connection alone": b"connection: upgrade",
    "before the length": b"upgrade: h2c\r\nconnection: upgrade",
}


def asking(sluice: Sluice, *headers: bytes, line: bytes = b"POST /v1/chat/completions HTTP/1.1", body: bytes = b""):
    kind = b"content-type: " + (b"application/octet-stream" if b"/files" in line else b"application/json")
    own = [line, b"host: sluice", b"authorization: Bearer " + key_of(sluice).encode(), kind]
    return b"\r\n".join([*own, *headers]) + b"\r\n\r\n" + body


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_the_body_is_read_as_ever(sluice: Sluice, upstream: Upstream, wish: bytes, framing: str):
    framed = (
        (sized(CHAT), CHAT) if framing == "length" else (b"transfer-encoding: chunked", chunked(CHAT[:9], CHAT[9:]))
    )
    data = asking(sluice, framed[0], wish, body=framed[1])
    replies = in_turn(sluice, data, data)
    assert [reply.status for reply in replies] == [200, 200]
    assert [received.body for received in upstream.requests] == [CHAT, CHAT]
    assert not {"upgrade", "http2-settings", "x-hop"} & {name for name, _ in upstream.last.headers}


def test_bytes_that_come_one_by_one_are_framed_alike(sluice: Sluice, upstream: Upstream):
    data = asking(sluice, H2C, sized(CHAT), body=CHAT)
    with connect(sluice) as peer:
        for _ in range(2):
            for byte in range(len(data)):
                peer.sendall(data[byte : byte + 1])
            reply = read_reply(peer)
            assert reply is not None
            assert reply.status == 200
    assert [received.body for received in upstream.requests] == [CHAT, CHAT]


def test_many_on_one_connection_are_answered_one_after_the_other(sluice: Sluice, upstream: Upstream):
    get = asking(sluice, H2C, line=b"GET /v1/models HTTP/1.1")
    replies = in_turn(sluice, *[get] * 30)
    assert [reply.status for reply in replies] == [200] * 30


def test_an_end_that_was_asked_for_beside_it_comes(sluice: Sluice, upstream: Upstream):
    data = asking(sluice, b"connection: close, upgrade\r\nupgrade: h2c", sized(CHAT), body=CHAT)
    assert [reply.status for reply in send(sluice, data + data, expect=1)] == [200]
    assert len(upstream.requests) == 1


def test_a_tunnel_is_refused(sluice: Sluice, upstream: Upstream):
    replies = send(sluice, asking(sluice, line=b"CONNECT /v1/files HTTP/1.1"))
    assert [reply.error["code"] for reply in replies] == ["upgrade_not_supported"]
    assert not upstream.requests


@pytest.mark.parametrize("wish", [b"x-plain: 1", H2C], ids=["plain", "h2c"])
def test_an_early_answer_never_lets_one_request_swallow_another(sluice: Sluice, upstream: Upstream, wish: bytes):
    """The provider answers before it has the body, and keeps the connection; the body goes on, or breaks off."""
    secret = b"the next client's words"
    upstream.early = True
    upstream.answers(json_answer({"early": True}))
    data = asking(sluice, wish, b"content-length: 400", line=b"POST /v1/files HTTP/1.1", body=b"a" * 100)
    with connect(sluice) as peer:
        peer.sendall(data)
        reply = read_reply(peer)
        assert reply is not None
        assert json.loads(reply.body) == {"early": True}
        upstream.early = False
        for _ in range(3):
            answer = client_of(sluice).post("/v1/moderations", json={"input": secret.decode()})
            assert answer.status_code == 200
    first, *others = upstream.requests
    assert [received.path for received in others] == ["/v1/moderations"] * 3
    assert first.connection_id not in {received.connection_id for received in others}
    assert secret not in first.body


def test_a_body_that_ends_too_soon_ends_its_connection(sluice: Sluice, upstream: Upstream):
    call = new_id()
    data = asking(
        sluice,
        b"content-length: 400",
        b"x-correlation-id: " + call.encode(),
        line=b"POST /v1/files HTTP/1.1",
        body=b"a",
    )
    with connect(sluice) as peer:
        peer.sendall(data)
        upstream.wait_until(lambda: upstream.requests)
    assert row_of(sluice, call)["outcome"] == "client_closed"
    assert client_of(sluice).post("/v1/moderations", json={"input": "x"}).status_code == 200
    assert len({received.connection_id for received in upstream.requests}) == 2
