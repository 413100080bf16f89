"""Reads the `content-encoding` of a provider's answer, and unpacks the answer.

If Sluice reads an answer, it asks for no content encoding. Some providers, and proxies in front of them, ignore that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from proxy.upstream.connection import ConnectionFailed
from proxy.wire.answer import Answer
from proxy.wire.asgi import Headers
from proxy.wire.decoders import DECODERS, MEMBERS, MOST_MEMBERS, Decoder, Undecodable

ZLIBS = frozenset({b"gzip", b"x-gzip", b"deflate"})
READABLE = frozenset(name.encode() for name in (*DECODERS, "x-gzip"))

# Words that are no coding. Servers that mix up their headers send names of character sets and the like.
MEANINGLESS = frozenset(
    b"identity none utf-8 utf8 us-ascii ascii iso-8859-1 7bit 8bit binary text json text/plain application/json".split()
)
PIECE_BYTES = 256 * 1024
"""Bytes of a stream's text that are unpacked at once."""

LOOP_BYTES = 16 * 1024
"""More packed bytes may become more than 16 MiB of text, so they are unpacked off the event loop. With zstd and brotli
a few bytes may become as much.
"""


def coding_of(headers: Headers) -> bytes:
    """The codings of an answer, as its headers name them, without words that are no coding; empty if there are none."""
    codings = b",".join(value for name, value in headers if name == b"content-encoding")
    words = [word.strip().lower() for word in codings.split(b",")]
    return b", ".join(word for word in words if word and word not in MEANINGLESS)


class Unpacked:
    """Unpacks a compressed text in steps: `feed` it the packed pieces, `take` the text."""

    def __init__(self, coding: bytes) -> None:
        self._coding = coding.decode().removeprefix("x-")
        self._decoder: Decoder | None = None
        self._waiting = b""
        self._text = b""
        """Text that is unpacked, and not taken yet."""
        self._members = 0

    def feed(self, piece: bytes) -> None:
        self._waiting += piece

    def take(self, most: int) -> bytes:
        """Up to `most` bytes of text; b"" if no more can be unpacked yet. Raises `Undecodable`."""
        text = self._text
        while len(text) < most and (self._waiting or (self._decoder is not None and self._decoder.has_more)):
            if self._decoder is None:
                self._decoder = DECODERS[self._coding]()
            elif self._decoder.is_over:
                self._begin_member()
                continue
            more, self._waiting = self._decoder.decode(self._waiting, most - len(text))
            text += more
        self._text = text[most:]
        return text[:most]

    def _begin_member(self) -> None:
        begins_with = MEMBERS.get(self._coding)
        if begins_with is None or not self._waiting.startswith(begins_with):
            self._waiting = b""  # bytes after the end of the text are ignored
            return
        self._decoder = None
        self._members += 1
        if self._members == MOST_MEMBERS:
            raise Undecodable(f"it has more than {MOST_MEMBERS} members")

    @property
    def is_whole(self) -> bool:
        """Whether all that was fed is unpacked and taken, and nothing is missing at the end."""
        return not self._waiting and not self._text and (self._decoder is None or self._decoder.is_over)


def inflate(coding: bytes, raw: bytes, most: int) -> tuple[bytes, bool]:
    """The unpacked text, up to `most` bytes, and whether that is all of it. Raises `Undecodable`."""
    unpacked = Unpacked(coding)
    unpacked.feed(raw)
    text = unpacked.take(most + 1)
    if len(text) > most:
        return text[:most], False
    if not unpacked.is_whole:
        raise Undecodable("it breaks off")
    return text, True


async def inflated(coding: bytes, raw: bytes, most: int) -> tuple[bytes, bool]:
    """The same as `inflate`, without blocking the event loop."""
    if len(raw) > LOOP_BYTES or coding not in ZLIBS:
        return await asyncio.to_thread(inflate, coding, raw, most)
    return inflate(coding, raw, most)


def inflated_part(coding: bytes, pieces: Iterable[bytes], most: int) -> bytes:
    """What can be unpacked of an answer that broke off."""
    unpacked = Unpacked(coding)
    unpacked.feed(b"".join(pieces))
    try:
        return unpacked.take(most)
    except Undecodable:
        return b""


class InflatedAnswer:
    """An `Answer` that wraps a compressed one and unpacks it, each piece as soon as it can be read."""

    def __init__(self, answer: Answer, coding: bytes) -> None:
        self._answer = answer
        self._unpacked = Unpacked(coding)
        self._put_back = b""
        self.status = answer.status
        self.headers = [header for header in answer.headers if header[0] != b"content-encoding"]

    async def comes_by(self, deadline: float) -> bool:
        """Whether more packed bytes have come. Only reading shows whether they are enough for some text."""
        return bool(self._put_back) or await self._answer.comes_by(deadline)

    async def read(self) -> bytes:
        if self._put_back:
            piece, self._put_back = self._put_back, b""
            return piece
        try:
            while not (piece := self._unpacked.take(PIECE_BYTES)):
                more = await self._answer.read()
                if not more:
                    break
                self._unpacked.feed(more)
        except Undecodable as error:
            raise ConnectionFailed("upstream_malformed", f"The provider's stream cannot be read: {error}.") from None
        if not piece and not self._unpacked.is_whole:
            raise ConnectionFailed("upstream_disconnected", "The provider's compressed stream breaks off.")
        return piece

    def put_back(self, piece: bytes) -> None:
        self._put_back = piece

    def rest(self) -> bytes | None:
        return None

    def abort(self) -> None:
        self._answer.abort()
