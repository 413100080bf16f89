"""HTTP/1.1 as bytes: heads, chunks, and a cache of plain answers."""

from __future__ import annotations

from collections import OrderedDict
from http import HTTPStatus

from providers.simulator.actions import End, Head, Piece, Script

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


def head_bytes(head: Head, *, chunked: bool, close: bool) -> bytes:
    lines = [b"HTTP/1.1 %d %s" % (head.status, REASONS.get(head.status, b"Unknown"))]
    lines += [b"%s: %s" % header for header in head.headers]
    if chunked:
        lines.append(b"transfer-encoding: chunked")
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def at_once(script: Script) -> bytes | None:
    """All bytes of a plain answer that has no pause and no fault; None for other answers."""
    match script.actions:
        case (Head() as head, Piece(data), End()):
            return head_bytes(head, chunked=False, close=False) + data
    return None


class Ready:
    """A cache of the latest plain answers, by target and body: equal requests have equal answers."""

    MOST = 512
    MOST_BYTES_EACH = 64 * 1024

    def __init__(self) -> None:
        self.answers: OrderedDict[tuple[bytes, bytes], bytes] = OrderedDict()

    def find(self, target: bytes, body: bytes) -> bytes | None:
        answer = self.answers.get((target, body))
        if answer is not None:
            self.answers.move_to_end((target, body))
        return answer

    def keep(self, target: bytes, body: bytes, answer: bytes) -> None:
        if len(body) + len(answer) > self.MOST_BYTES_EACH:
            return
        self.answers[(target, body)] = answer
        if len(self.answers) > self.MOST:
            self.answers.popitem(last=False)
