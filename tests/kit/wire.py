"""Bytes to a server and back, with nothing in between that would refuse to send them."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.kit.clients import key_of
from tests.kit.sluice import Sluice

TIMEOUT_S = 20.0
LARGEST_BODY = 1_000_000
"""That a strict server takes."""
HANG_S = 8.0
"""Who has said nothing for so long hangs."""
CHAT = b'{"model":"gpt-4.1-mini","messages":[]}'


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error in OpenAI's shape."""
        assert self.headers.get("content-type") == "application/json", self
        document = json.loads(self.body)
        assert set(document["error"]) == {"message", "type", "param", "code"}, document
        return dict(document["error"])


def connect(server: Sluice | int, *, receive_buffer: int | None = None, timeout_s: float = TIMEOUT_S) -> socket.socket:
    """A connection to the server, or to who listens on this port; the test closes it."""
    peer = socket.socket()
    if receive_buffer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    peer.settimeout(timeout_s)
    peer.connect(("127.0.0.1", server if isinstance(server, int) else server.port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def read_reply(peer: socket.socket, buffer: bytearray | None = None) -> Reply | None:
    """The next answer; None when the connection ended instead. `TimeoutError` is a hang."""
    buffer = bytearray() if buffer is None else buffer
    while b"\r\n\r\n" not in buffer:
        if not (piece := _receive(peer)):
            assert not buffer, f"half an answer: {bytes(buffer)!r}"
            return None
        buffer += piece
    head, _, rest = bytes(buffer).partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    while len(rest) < length and (piece := _receive(peer)):
        rest += piece
    assert len(rest) >= length, "the answer's body was cut off"
    buffer[:] = rest[length:]
    return Reply(int(status_line.split()[1]), headers, rest[:length])


def send(server: Sluice, *pieces: bytes, every: float = 0.0, expect: int = 1) -> list[Reply]:
    """Send the pieces, and read answers until the connection ends or is quiet after at least so many."""
    with connect(server, timeout_s=HANG_S) as peer:
        for position, piece in enumerate(pieces):
            if position and every:
                time.sleep(every)
            try:
                peer.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break  # it has answered already
        replies: list[Reply] = []
        buffer = bytearray()
        while True:
            try:
                reply = read_reply(peer, buffer)
            except TimeoutError:
                assert replies, f"no answer within {HANG_S} s"
                return replies
            if reply is None:
                return replies
            if reply.status != 100:
                replies.append(reply)
            if len(replies) >= expect:
                peer.settimeout(0.2)


def in_turn(server: Sluice, *requests: bytes) -> list[Reply]:
    """On one connection, each when the one before is answered; until the connection ends."""
    replies: list[Reply] = []
    with connect(server) as peer:
        for data in requests:
            peer.sendall(data)
            reply = read_reply(peer)
            if reply is None:
                break
            replies.append(reply)
    return replies


def request(
    key: str,
    *headers: bytes,
    line: bytes = b"POST /v1/chat/completions HTTP/1.1",
    body: bytes = b"",
    host: bytes = b"host: sluice",
) -> bytes:
    """A request with these header lines, and no framing but what they say."""
    own = [line, *([host] if host else []), b"authorization: Bearer " + key.encode()]
    if line.startswith(b"POST"):
        own.append(b"content-type: application/json")
    return b"\r\n".join([*own, *headers]) + b"\r\n\r\n" + body


def sized(body: bytes) -> bytes:
    return b"content-length: %d" % len(body)


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def still_serves(server: Sluice, key: str) -> None:
    """A fresh connection gets a good answer."""
    replies = send(server, request(key, sized(CHAT), b"connection: close", body=CHAT))
    assert [reply.status for reply in replies] == [200]


def statuses(replies: Iterable[Reply]) -> list[int]:
    return [reply.status for reply in replies]


def request_bytes(
    sluice: Sluice, body: Any = None, *, path: str = "/v1/chat/completions", method: str = "POST", **headers: str
) -> bytes:
    """A request as it goes on the wire; `content_length` may lie about the body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {
        "host": "sluice",
        "authorization": f"Bearer {key_of(sluice)}",
        "content_type": "application/json",
        "content_length": str(len(data)),
        **headers,
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def answer_on(peer: socket.socket) -> http.client.HTTPResponse:
    """The answer's head; its body can then be read in any steps."""
    answer = http.client.HTTPResponse(peer, method="POST")
    answer.begin()
    return answer


def receive(connection: socket.socket, *, until: bytes = b"") -> bytes:
    """What comes until the end, or until these bytes."""
    data = bytearray()
    while piece := connection.recv(65536):
        data += piece
        # In what came now, or across its border.
        if until and until in data[-len(piece) - len(until) :]:
            break
    return bytes(data)


def _receive(peer: socket.socket) -> bytes:
    try:
        return peer.recv(65_536)
    except ConnectionResetError:
        return b""
