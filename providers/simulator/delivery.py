"""Makes the script of an answer: adds the pauses, and breaks the answer where the settings say so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from providers.simulator.actions import Action, Cut, End, Head, Headers, Malformed, Pause, Piece, Script, Stall
from providers.simulator.settings import (
    PLAIN,
    CutAfter,
    Flap,
    Html,
    MalformedAfter,
    NoDone,
    Reset,
    Settings,
    SlowFirstByte,
    StallAfter,
    Status,
)

PAGE = b"<!doctype html><html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>\n"
JSON = b"application/json"
SSE = b"text/event-stream; charset=utf-8"


class Stream(NamedTuple):
    """The frames of a streamed answer."""

    opening: list[bytes]
    """Sent after the head, before the wait for the first token."""
    lead: list[bytes]
    """Sent with the first token."""
    tokens: Iterable[list[bytes]]
    """One list for each token, with a frame for each choice that still has one."""
    closing: list[bytes]
    last: list[bytes]
    """The end of a complete stream: `[DONE]`, or the last event."""
    broken: bytes
    """Half a frame."""


class Plain(NamedTuple):
    """A body in one piece."""

    data: bytes
    tokens: int = 1
    status: int = 200
    headers: Headers = ()
    content_type: bytes = JSON


def frame(data: object, event: str = "") -> bytes:
    head = f"event: {event}\n".encode() if event else b""
    return b"%sdata: %s\n\n" % (head, msgspec.json.encode(data))


def deliver(answer: Plain | Stream, key: str, settings: Settings = PLAIN, *, repeatable: bool = True) -> Script:
    """The script of an answer."""
    if isinstance(settings.fault, Html):
        answer = Plain(PAGE, content_type=b"text/html; charset=utf-8")
    if isinstance(answer, Stream):
        return Script(streamed(answer, key, settings), False)
    # `Flap` counts requests, so the next equal request may get another answer.
    return Script(tuple(in_one(answer, key, settings)), repeatable and not isinstance(settings.fault, Flap))


def before_head(settings: Settings) -> Iterator[Action]:
    if settings.delay_ms:
        yield Pause(settings.delay_ms / 1000)
    if isinstance(settings.fault, SlowFirstByte):
        yield Pause(settings.fault.seconds)


def head(status: int, content_type: bytes, key: str, more: Headers = ()) -> Head:
    return Head(
        status,
        (
            (b"content-type", content_type),
            (b"openai-processing-ms", b"1"),
            (b"x-request-id", b"req-sim-" + key.encode()),
            *more,
        ),
    )


def in_one(answer: Plain, key: str, settings: Settings) -> Iterator[Action]:
    """The actions of a plain answer. A fault after k of n tokens breaks the body after k/(n + 1) of its bytes."""
    fault = settings.fault
    data = answer.data
    yield from before_head(settings)
    if isinstance(fault, Reset):
        yield Cut()
        return
    if isinstance(fault, CutAfter | StallAfter | MalformedAfter):
        data = data[: len(data) * min(fault.after, answer.tokens) // (answer.tokens + 1)]
    # A malformed body is complete as HTTP, so its length is given. A cut body is shorter than its Content-Length.
    length = len(data) if isinstance(fault, MalformedAfter) else len(answer.data)
    yield head(answer.status, answer.content_type, key, (*answer.headers, (b"content-length", str(length).encode())))
    if settings.first_token_ms and answer.status == 200:
        yield Pause(settings.first_token_ms / 1000)
    if data:
        yield Malformed(data) if isinstance(fault, MalformedAfter) else Piece(data)
    yield end_of(fault)


def streamed(stream: Stream, key: str, settings: Settings) -> Iterator[Action]:
    fault = settings.fault
    yield from before_head(settings)
    if isinstance(fault, Reset):
        yield Cut()
        return
    yield head(200, SSE, key, ((b"cache-control", b"no-cache"),))
    yield from map(Piece, stream.opening)
    if settings.first_token_ms:
        yield Pause(settings.first_token_ms / 1000)
    after = fault.after if isinstance(fault, CutAfter | StallAfter | MalformedAfter) else None
    pause = Pause(1 / settings.tokens_per_second) if settings.tokens_per_second else None
    # The lead goes out with the first token: a stream that breaks after 0 tokens has sent nothing of the answer.
    lead = stream.lead
    for sent, frames in enumerate(stream.tokens):
        if sent == after:
            yield from broken(stream, fault)
            if not isinstance(fault, MalformedAfter):
                return
            after = None
        if sent and pause:
            yield pause
        yield from map(Piece, lead)
        yield from map(Piece, frames)
        lead = []
    yield from map(Piece, lead)
    if after is not None:
        yield from broken(stream, fault)
        if not isinstance(fault, MalformedAfter):
            return
    yield from map(Piece, stream.closing)
    if not isinstance(fault, NoDone):
        yield from map(Piece, stream.last)
    yield End()


def broken(stream: Stream, fault: object) -> Iterator[Action]:
    yield Malformed(stream.broken) if isinstance(fault, MalformedAfter) else end_of(fault)


def end_of(fault: object) -> Action:
    if isinstance(fault, CutAfter):
        return Cut()
    return Stall() if isinstance(fault, StallAfter) else End()


def refusal_headers(fault: Status) -> Headers:
    if fault.retry_after is None:
        return ()
    # Some providers send a decimal, although RFC 9110 allows only whole seconds.
    return ((b"retry-after", f"{fault.retry_after:g}".encode()),)
