"""What a provider's `content-encoding` says, and reading through it.

Where Sluice reads the answer it asks for none. Some providers, and proxies before them, do not heed that.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable

from proxy.connection import ConnectionFailed
from proxy.upstream import Answer, Headers

GZIP = frozenset({b"gzip", b"x-gzip"})
READABLE = GZIP | {b"deflate"}

# What is no coding: names of character sets and the like, by servers that mix up their headers.
MEANINGLESS = frozenset(
    b"identity none utf-8 utf8 us-ascii ascii iso-8859-1 7bit 8bit binary text json text/plain application/json".split()
)
PIECE_BYTES = 256 * 1024
"""Of a stream, at once."""

LOOP_BYTES = 16 * 1024
"""What is larger may become 16 MiB, and is read off the event loop."""

MOST_MEMBERS = 100
"""Of one gzip: each takes a copy of all that follows it."""

GZIP_BITS, ZLIB_BITS, DEFLATE_BITS = 31, 15, -15


class Undecodable(ValueError):
    """Bytes that are not what their header says, or that break off."""


def coding_of(headers: Headers) -> bytes:
    """The codings of an answer that mean something, as its headers name them; empty where it is under none."""
    said = b",".join(value for name, value in headers if name == b"content-encoding")
    words = [word.strip().lower() for word in said.split(b",")]
    return b", ".join(word for word in words if word and word not in MEANINGLESS)


class Inflater:
    """Feed it the pieces of a compressed text, and take what they are."""

    def __init__(self, coding: bytes) -> None:
        self._is_gzip = coding in GZIP
        self._inflater: zlib._Decompress | None = None
        self._waiting = b""
        self._has_more = False
        self._members = 0

    def feed(self, piece: bytes) -> None:
        self._waiting += piece

    def take(self, most: int) -> bytes:
        """Up to `most` bytes, b"" where nothing more is there yet. Raises `Undecodable`."""
        out = b""
        while (self._waiting or self._has_more) and (room := most - len(out)) > 0:
            if self._inflater is None and not self._begin():
                break
            assert self._inflater is not None
            try:
                text = self._inflater.decompress(self._waiting, room)
            except zlib.error:
                raise Undecodable("it is not what its content-encoding says") from None
            out += text
            self._has_more = len(text) == room  # zlib may keep some without keeping any of its input
            if self._inflater.eof:
                self._waiting = self._inflater.unused_data
                if not self._is_gzip or not self._waiting.startswith(b"\x1f\x8b"):
                    self._waiting = b""  # what follows the end is nobody's
                else:
                    self._inflater = None  # gzip may come in several members
                    self._members += 1
                    if self._members == MOST_MEMBERS:
                        raise Undecodable(f"it has more than {MOST_MEMBERS} members")
            else:
                self._waiting = self._inflater.unconsumed_tail
        return out

    def _begin(self) -> bool:
        """`deflate` is zlib's format, but some send the bare one: the first two bytes tell."""
        if len(self._waiting) < 2:
            return False
        first, second = self._waiting[:2]
        is_zlib = first & 15 == 8 and (first << 8 | second) % 31 == 0
        self._inflater = zlib.decompressobj(GZIP_BITS if self._is_gzip else ZLIB_BITS if is_zlib else DEFLATE_BITS)
        return True

    @property
    def is_whole(self) -> bool:
        """Nothing is missing at the end."""
        return not self._waiting and (self._inflater is None or self._inflater.eof)


def inflate(coding: bytes, raw: bytes, most: int) -> tuple[bytes, bool]:
    """The text, up to `most` bytes, and whether that is all of it. Raises `Undecodable`."""
    inflater = Inflater(coding)
    inflater.feed(raw)
    text = inflater.take(most + 1)
    if len(text) > most:
        return text[:most], False
    if not inflater.is_whole:
        raise Undecodable("it breaks off")
    return text, True


async def inflated(coding: bytes, raw: bytes, most: int) -> tuple[bytes, bool]:
    """The same, without holding up the event loop."""
    if len(raw) > LOOP_BYTES:
        return await asyncio.to_thread(inflate, coding, raw, most)
    return inflate(coding, raw, most)


def inflated_part(coding: bytes, pieces: Iterable[bytes], most: int) -> bytes:
    """What can be read of an answer that broke off."""
    inflater = Inflater(coding)
    inflater.feed(b"".join(pieces))
    try:
        return inflater.take(most)
    except Undecodable:
        return b""


class InflatedAnswer:
    """A compressed stream as what it was before: each piece as soon as it can be read."""

    def __init__(self, answer: Answer, coding: bytes) -> None:
        self._answer = answer
        self._inflater = Inflater(coding)
        self._put_back = b""
        self.status = answer.status
        self.headers = [header for header in answer.headers if header[0] != b"content-encoding"]

    async def read(self) -> bytes:
        if self._put_back:
            piece, self._put_back = self._put_back, b""
            return piece
        try:
            while not (piece := self._inflater.take(PIECE_BYTES)):
                more = await self._answer.read()
                if not more:
                    break
                self._inflater.feed(more)
        except Undecodable as error:
            raise ConnectionFailed("upstream_malformed", f"The provider's stream cannot be read: {error}.") from None
        if not piece and not self._inflater.is_whole:
            raise ConnectionFailed("upstream_disconnected", "The provider's compressed stream breaks off.")
        return piece

    def put_back(self, piece: bytes) -> None:
        self._put_back = piece

    def rest(self) -> bytes | None:
        return None

    def abort(self) -> None:
        self._answer.abort()
