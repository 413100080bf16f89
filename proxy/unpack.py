"""Compressed bodies of requests (RFC 9110, section 8.4), unpacked within the bound that holds for plain ones."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator

from proxy.bounds import too_large
from proxy.errors import BadRequest, UnsupportedMediaType
from proxy.exchange import Exchange

STEP_BYTES = 256 * 1024
"""Unpacked in one go: about a millisecond."""

PIECE_BYTES = 64 * 1024
MOST_MEMBERS = 100
"""Of one gzip body. Each costs a look at the rest of its piece."""

ACCEPTED = b"gzip, deflate"
_GZIP, _ZLIB, _BARE = 31, 15, -15


def coding_of(exchange: Exchange) -> str:
    """How the body is packed; blank: not at all. Raises `UnsupportedMediaType`."""
    given = exchange.head.fields.get(b"content-encoding")
    if given is None:
        return ""
    names = [name for name in given.decode("latin-1").replace(" ", "").lower().split(",") if name != "identity"]
    if not any(names):
        return ""
    if names in (["gzip"], ["x-gzip"], ["deflate"]):
        return names[0].removeprefix("x-")
    raise UnsupportedMediaType(
        "unsupported_content_encoding",
        f"Send the body with Content-Encoding {ACCEPTED.decode().replace(', ', ' or ')}, or without any.",
        headers=[(b"accept-encoding", ACCEPTED)],
    )


class Unpacker:
    """Feed it the pieces of a packed body; it gives what they unpack to, in steps."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._members = 1
        self._began = False
        self._inflater = zlib.decompressobj(_GZIP if coding == "gzip" else _ZLIB)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Raises `BadRequest`."""
        for at in range(0, len(piece), PIECE_BYTES):
            left = piece[at : at + PIECE_BYTES]
            while left:
                step = self._step(left)
                left = self._inflater.unconsumed_tail or self._inflater.unused_data
                if step:
                    yield step

    def end(self) -> None:
        """Raises `BadRequest` when the body broke off."""
        if not self._inflater.eof:
            raise self._damaged()

    def _step(self, data: bytes) -> bytes:
        if self._inflater.eof:
            self._members += 1
            if self._coding != "gzip" or self._members > MOST_MEMBERS:
                raise self._damaged()
            self._inflater = zlib.decompressobj(_GZIP)
        try:
            step = self._inflater.decompress(data, STEP_BYTES)
        except zlib.error:
            if self._began or self._coding != "deflate":
                raise self._damaged() from None
            self._inflater = zlib.decompressobj(_BARE)  # as some send `deflate`, against the standard
            self._began = True
            return self._step(data)
        self._began = True
        return step

    def _damaged(self) -> BadRequest:
        return BadRequest("invalid_content_encoding", f"The body is not whole and valid {self._coding}.")


async def unpacked(raw: bytes, coding: str, most: int) -> bytes:
    """A whole body. Raises `BadRequest`, `TooLarge`.

    The beginning is unpacked here, which is all of most bodies; for what follows a thread is asked.
    """
    unpacker = Unpacker(coding)
    steps = unpacker.feed(raw)
    pieces: list[bytes] = []
    gather(pieces, steps, STEP_BYTES)
    if sum(map(len, pieces)) > STEP_BYTES:
        await asyncio.to_thread(gather, pieces, steps, most)
    if sum(map(len, pieces)) > most:
        raise too_large(most)
    unpacker.end()
    return b"".join(pieces)


def gather(pieces: list[bytes], steps: Iterator[bytes], most: int) -> None:
    """Until all is there, or more than `most`."""
    size = sum(map(len, pieces))
    while size <= most and (step := next(steps, None)) is not None:
        pieces.append(step)
        size += len(step)


async def unpacked_pieces(pieces: AsyncIterator[bytes], coding: str, most: int) -> AsyncIterator[bytes]:
    """A body that streams by. Raises `BadRequest`, `TooLarge`. Others come to their turn between its steps."""
    unpacker = Unpacker(coding)
    size = 0
    async for piece in pieces:
        for step in unpacker.feed(piece):
            size += len(step)
            if size > most:
                raise too_large(most)
            yield step
            await asyncio.sleep(0)
    unpacker.end()
