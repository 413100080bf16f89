"""Scripts: the list of actions that the upstream performs for one request, and helpers that make such lists."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.kit.upstream.received import Received

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Head:
    """The status line and exactly these headers."""

    status: int = 200
    headers: Headers = ()

    def pairs(self) -> list[tuple[str, str]]:
        return list(self.headers.items()) if isinstance(self.headers, Mapping) else list(self.headers)

    def encoded(self) -> bytes:
        try:
            reason = HTTPStatus(self.status).phrase
        except ValueError:
            reason = "Unknown"
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in self.pairs())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(frozen=True)
class Send:
    """These bytes, without framing."""

    data: bytes


@dataclass(frozen=True)
class Chunk:
    """One HTTP chunk with these bytes in it, in one write."""

    data: bytes

    def encoded(self) -> bytes:
        return b"%x\r\n%b\r\n" % (len(self.data), self.data)


@dataclass(frozen=True)
class EndChunks:
    """The last, empty chunk, with trailers if any."""

    trailers: Headers = ()

    def encoded(self) -> bytes:
        pairs = self.trailers.items() if isinstance(self.trailers, Mapping) else self.trailers
        return b"0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in pairs).encode("latin-1") + b"\r\n"


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class WaitFor:
    """Wait until the test sets the event."""

    event: threading.Event


NEVER = WaitFor(threading.Event())


@dataclass(frozen=True)
class Reset:
    """TCP RST: the peer's next read or write fails."""


@dataclass(frozen=True)
class Close:
    """TCP FIN, after everything has been sent."""


Action = Head | Send | Chunk | EndChunks | Wait | WaitFor | Reset | Close
Script = Sequence[Action]
Answer = Script | Callable[["Received"], Script]


def json_answer(obj: Any, status: int = 200, headers: Headers = ()) -> Script:
    """A whole JSON answer with a content length."""
    return body_answer(json.dumps(obj).encode(), status, headers, content_type="application/json")


def body_answer(body: bytes, status: int = 200, headers: Headers = (), *, content_type: str) -> Script:
    own = [("content-type", content_type), ("content-length", str(len(body)))]
    return [Head(status, [*own, *Head(headers=headers).pairs()]), Send(body)]


def error_answer(status: int, message: str = "upstream says no", code: str | None = None, **headers: str) -> Script:
    """An error in OpenAI's format. `retry_after="2"` becomes the header `retry-after`."""
    error = {"message": message, "type": "upstream_error", "param": None, "code": code}
    return json_answer({"error": error}, status, {name.replace("_", "-"): value for name, value in headers.items()})


def stream_head(headers: Headers = (), *, status: int = 200) -> Head:
    own = [("content-type", "text/event-stream; charset=utf-8"), ("transfer-encoding", "chunked")]
    return Head(status, [*own, *Head(headers=headers).pairs()])


def frame(data: Any, event: str | None = None) -> bytes:
    """One server-sent event. `data` that is not a string is written as JSON."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()


def sse(frames: Iterable[bytes], *, delay: float = 0, headers: Headers = (), end: bool = True) -> Script:
    """A stream with one HTTP chunk for each frame, and a pause of `delay` seconds before each but the first."""
    script: list[Action] = [stream_head(headers)]
    for position, data in enumerate(frames):
        if delay and position:
            script.append(Wait(delay))
        script.append(Chunk(data))
    if end:
        script.append(EndChunks())
    return script


def after(event: threading.Event, script: Script, *, actions: int = 0) -> Script:
    """The script, which waits for the event after its first `actions` actions."""
    return [*script[:actions], WaitFor(event), *script[actions:]]
