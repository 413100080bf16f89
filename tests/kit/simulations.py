"""The simulator's scripts as data, and requests to a simulator that listens on a socket."""

from __future__ import annotations

import json
from typing import Any

from providers.simulator.actions import Action, Head, Malformed, Piece
from providers.simulator.memory import Memory
from providers.simulator.script import Request, script
from tests.kit.wire import connect, receive

HELLO = {"model": "simulator", "messages": [{"role": "user", "content": "hello there, simulator"}]}
CHAT = "/chat/completions"


def play(path: str, body: Any = None, *, method: str = "POST", memory: Memory | None = None, defaults=None, **simulate):
    """The actions of the script that answers a request."""
    if simulate:
        body = {**body, "simulate": simulate}
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return list(script(Request(method, path, {}, data), memory or Memory(), defaults).actions)


def chat(*, memory: Memory | None = None, defaults=None, simulate: Any = None, **members: Any) -> list[Action]:
    body = {**HELLO, **members}
    if simulate is not None:
        body["simulate"] = simulate
    return play(CHAT, body, memory=memory, defaults=defaults)


def head_of(actions: list[Action]) -> Head:
    return next(action for action in actions if isinstance(action, Head))


def data_of(actions: list[Action]) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, Piece | Malformed))


def json_of(actions: list[Action]) -> Any:
    return json.loads(data_of(actions))


def frames_of(actions: list[Action]) -> list[Any]:
    """The complete frames, parsed, without `[DONE]`."""
    pieces = [action.data for action in actions if isinstance(action, Piece)]
    datas = [line[6:] for piece in pieces for line in piece.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(data) for data in datas if data != "[DONE]"]


def texts_of(actions: list[Action], index: int = 0) -> list[str]:
    choices = [choice for frame in frames_of(actions) for choice in frame["choices"] if choice["index"] == index]
    return [text for choice in choices if (text := choice["delta"].get("content"))]


def kinds_of(actions: list[Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


def request_bytes(path: str = "/v1/chat/completions", body: Any = None, *lines: str, version: str = "1.1") -> bytes:
    data = json.dumps({**HELLO, **(body or {})}).encode()
    head = [f"POST {path} HTTP/{version}", "host: x", f"content-length: {len(data)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


def stats(port: int) -> dict[str, int]:
    with connect(port) as connection:
        connection.sendall(b"GET /_simulator/stats HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return json.loads(receive(connection).partition(b"\r\n\r\n")[2])
