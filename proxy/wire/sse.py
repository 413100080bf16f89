"""Split a stream of server-sent events into frames, as bytes. The frames, joined again, are the stream.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re

_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?:\r\n|\n|\r)")  # atomic: CRLF is one line end, never two
_COMMENTS = re.compile(rb"(?:(?::[^\r\n]*+)?+\r?+\n)++")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_LONGEST_BLANK_LINE = 4
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

LATE_LF = b"\n"
"""The last byte of the frame before, if it comes late. No frame is as short as this."""


class FrameSplitter:
    """Cuts a stream at its blank lines, wherever its pieces happen to end.

    A frame is returned as soon as its blank line has come. If that line ends in CR, a LF that comes later is its last
    byte and is returned as `LATE_LF`, because waiting for it could take forever.
    """

    __slots__ = ("_before", "_may_follow", "_pending", "_searched", "is_letting_go")

    def __init__(self) -> None:
        self._pending = bytearray()
        self._searched = 0
        self._may_follow = False
        self.is_letting_go = False
        """The current frame is forwarded in parts: `let_go_of` says how much of a piece belongs to it."""
        self._before = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The frames that this piece completes."""
        if self._may_follow:
            return self._feed_after_cr(piece)
        # `find`, not `in`: see `may_name` in jsonbody.py.
        if not self._pending and 0 <= piece.find(b"\n\n") == len(piece) - 2 and piece.find(b"\r") < 0:
            return [piece]
        pending = self._pending
        pending += piece
        frames: list[bytes] = []
        start = 0
        for match in _BLANK_LINE.finditer(pending, self._searched):
            frames.append(bytes(pending[start : match.end()]))
            start = match.end()
        if start:
            del pending[:start]
            self._may_follow = not pending and frames[-1].endswith(b"\r")
        self._searched = max(0, len(pending) - _LONGEST_BLANK_LINE)
        return frames

    def _feed_after_cr(self, piece: bytes) -> list[bytes]:
        self._may_follow = not piece
        if piece.startswith(b"\n"):
            return [LATE_LF, *self.feed(piece[1:])]
        return self.feed(piece) if piece else []

    def let_go(self) -> bytes:
        """The part that has come of a frame that is too long to wait for. The rest is for `let_go_of`."""
        begun = self.rest()
        self.is_letting_go, self._before = True, begun[-_LONGEST_BLANK_LINE:]
        return begun

    def let_comments_go(self) -> bytes:
        """What waits for the end of its frame, if it is only comments and blank lines; else nothing."""
        if self._pending[-1:] != b"\n" or _COMMENTS.fullmatch(self._pending) is None:
            return b""
        return self.rest()

    def let_go_of(self, piece: bytes) -> int:
        """How many bytes of a piece belong to the frame that `let_go` began."""
        before = self._before
        joined = before + piece
        match = _BLANK_LINE.search(joined)
        if match is None:
            self._before = joined[-_LONGEST_BLANK_LINE:]
            return len(piece)
        self.is_letting_go = False
        self._may_follow = joined[match.end() - 1 : match.end()] == b"\r"
        return match.end() - len(before)

    def rest(self) -> bytes:
        """What came after the last blank line; a stream's end completes it."""
        rest = bytes(self._pending)
        self._pending.clear()
        self._searched = 0
        return rest

    @property
    def waiting_bytes(self) -> int:
        return len(self._pending)


def is_simple(frame: bytes) -> bool:
    """One `data: ` line and a blank one, both ended by LF: what nearly all frames are."""
    size = len(frame) - 2
    return (
        frame.startswith(b"data: ") and frame.find(b"\n") == size and frame.endswith(b"\n\n") and frame.find(b"\r") < 0
    )


def data_of(frame: bytes) -> bytes | None:
    """The data of a frame, its lines joined with LF; None for a frame without any (a comment, a bare event)."""
    if is_simple(frame):
        return frame[6:-2]
    lines = []
    for line in _LINE_END.split(frame.removeprefix(_BYTE_ORDER_MARK)):
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif line == b"data":
            lines.append(b"")
    return b"\n".join(lines) if lines else None


def replace_data(frame: bytes, data: bytes) -> bytes:
    """The frame with other data; its other lines and its end as they were."""
    if is_simple(frame):
        return b"data: " + data + b"\n\n"
    mark = _BYTE_ORDER_MARK if frame.startswith(_BYTE_ORDER_MARK) else b""
    lines = _LINE_END.split(frame.removeprefix(_BYTE_ORDER_MARK))
    end = _LINE_END.search(frame)
    line_end = end[0] if end else b"\n"
    kept = [line + line_end for line in lines if line and line != b"data" and not line.startswith(b"data:")]
    return mark + b"".join(kept) + b"data: " + data + frame[len(frame.rstrip(b"\r\n")) :]
