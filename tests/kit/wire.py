"""Raw bytes to a server and back, without an HTTP library that would refuse to send them."""

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
"""The largest body that a strict server accepts."""
HANG_S = 8.0
"""A server that has sent nothing for so long hangs."""
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
    """A connection to the server, or to this port. The test closes it."""
    peer = socket.socket()
    if receive_buffer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    peer.settimeout(timeout_s)
    peer.connect(("127.0.0.1", server if isinstance(server, int) else server.port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def read_reply(peer: socket.socket, buffer: bytearray | None = None) -> Reply | None:
    """The next answer; None if the connection ended instead. Raises `TimeoutError` if the server hangs."""
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
    """Send the pieces. Read answers until the connection ends, or is quiet after `expect` answers."""
    with connect(server, timeout_s=HANG_S) as peer:
        for position, piece in enumerate(pieces):
            if position and every:
                time.sleep(every)
            try:
                peer.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break  # the server has answered and closed already
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
    """Send requests on one connection, each after the answer to the one before, until the connection ends."""
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
    """A request with these header lines. Only they say how the body is framed."""
    own = [line, *([host] if host else []), b"authorization: Bearer " + key.encode()]
    if line.startswith(b"POST"):
        own.append(b"content-type: application/json")
    return b"\r\n".join([*own, *headers]) + b"\r\n\r\n" + body


def sized(body: bytes) -> bytes:
    return b"content-length: %d" % len(body)


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def still_serves(server: Sluice, key: str) -> None:
    """Check that a new connection gets an answer with status 200."""
    replies = send(server, request(key, sized(CHAT), b"connection: close", body=CHAT))
    assert [reply.status for reply in replies] == [200]


def statuses(replies: Iterable[Reply]) -> list[int]:
    return [reply.status for reply in replies]


def request_bytes(
    sluice: Sluice, body: Any = None, *, path: str = "/v1/chat/completions", method: str = "POST", **headers: str
) -> bytes:
    """The bytes of a request. A test may give a wrong `content_length`."""
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
    """Read the head of the answer. Its body can then be read in any steps."""
    answer = http.client.HTTPResponse(peer, method="POST")
    answer.begin()
    return answer


def receive(connection: socket.socket, *, until: bytes = b"") -> bytes:
    """The bytes that come until the end of the connection, or until these bytes have come."""
    data = bytearray()
    while piece := connection.recv(65536):
        data += piece
        # The bytes may have begun in the piece before.
        if until and until in data[-len(piece) - len(until) :]:
            break
    return bytes(data)


def _receive(peer: socket.socket) -> bytes:
    try:
        return peer.recv(65_536)
    except ConnectionResetError:
        return b""
