"""Streams that pause until a test lets them go on, and what is in a stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from tests.kit.upstream import Action, Chunk, EndChunks, WaitFor, stream_head


def halting(frames: Sequence[bytes]) -> tuple[list[Action], list[threading.Event]]:
    """A stream that waits for an event after each frame. Returns its script and the events, which the test sets."""
    script: list[Action] = [stream_head()]
    gates = []
    for frame in frames:
        gates.append(threading.Event())
        script += [Chunk(frame), WaitFor(gates[-1])]
    return [*script, EndChunks()], gates


def pieces_until(pieces: Iterator[bytes], wanted: bytes) -> None:
    """Read until these bytes have come. If the server holds them back, the client's timeout ends the test."""
    got = b""
    while len(got) < len(wanted):
        got += next(pieces)
    assert got == wanted


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """The data of all events, parsed."""
    return [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: {")]
