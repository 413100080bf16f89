"""Raw HTTP, to see what a client library would hide."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from tests.simulator.play import HELLO


def post(path: str = "/v1/chat/completions", body: Any = None, *lines: str, version: str = "1.1") -> bytes:
    data = json.dumps({**HELLO, **(body or {})}).encode()
    head = [f"POST {path} HTTP/{version}", "host: x", f"content-length: {len(data)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def receive(connection: socket.socket, *, until: bytes = b"") -> bytes:
    """What comes until the end, or until these bytes."""
    data = bytearray()
    while piece := connection.recv(65536):
        data += piece
        # In what came now, or across its border.
        if until and until in data[-len(piece) - len(until) :]:
            break
    return bytes(data)


def stats(port: int) -> dict[str, int]:
    with connect(port) as connection:
        connection.sendall(b"GET /_simulator/stats HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return json.loads(receive(connection).partition(b"\r\n\r\n")[2])


def eventually(question, within: float = 20) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if question():
            return True
        time.sleep(0.01)
    return False
