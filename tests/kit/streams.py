"""Streams that halt until a test lets them go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from tests.kit.upstream import Action, Chunk, EndChunks, WaitFor, stream_head


def halting(frames: Sequence[bytes]) -> tuple[list[Action], list[threading.Event]]:
    """A stream that waits for the test's event before each frame but the first, and before its end."""
    script: list[Action] = [stream_head()]
    gates = []
    for frame in frames:
        gates.append(threading.Event())
        script += [Chunk(frame), WaitFor(gates[-1])]
    return [*script, EndChunks()], gates


def pieces_until(pieces: Iterator[bytes], wanted: bytes) -> None:
    """Read on until these bytes are there; a server that holds them back runs into the client's time limit."""
    got = b""
    while len(got) < len(wanted):
        got += next(pieces)
    assert got == wanted
