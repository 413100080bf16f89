"""Unpack compressed bodies of requests (RFC 9110, section 8.4), within the size limit for plain ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from proxy.body_room import BodyRoom
from proxy.bounds import too_large
from proxy.errors import BadRequest, UnsupportedMediaType
from proxy.exchange import Exchange
from proxy.wire.decoders import DECODERS, MEMBERS, MOST_MEMBERS, WINDOW_BYTES, Undecodable, load
from proxy.wire.pieces import joined

STEP_BYTES = 256 * 1024
"""Unpacked in one step, which takes about a millisecond."""

PIECE_BYTES = 64 * 1024


def coding_of(exchange: Exchange) -> str:
    """The content encoding of the body; blank if it has none. Raises `UnsupportedMediaType`."""
    header = exchange.head.fields.get(b"content-encoding")
    if header is None:
        return ""
    names = [name for name in header.decode("latin-1").replace(" ", "").lower().split(",") if name != "identity"]
    if not any(names):
        return ""
    if len(names) == 1 and (name := "gzip" if names[0] == "x-gzip" else names[0]) in DECODERS:
        return name
    *others, last = DECODERS
    raise UnsupportedMediaType(
        "unsupported_content_encoding",
        f"Send the body with Content-Encoding {', '.join(others)} or {last}, or without any.",
        headers=[(b"accept-encoding", ", ".join(DECODERS).encode())],
    )


class Unpacker:
    """Unpacks the pieces of a compressed body, in bounded steps."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._members = 1
        self._decoder = DECODERS[coding]()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The steps that this piece unpacks to. Raises `BadRequest`."""
        for at in range(0, len(piece), PIECE_BYTES):
            left = piece[at : at + PIECE_BYTES]
            while left or self._decoder.has_more:
                if self._decoder.is_over:
                    self._begin_member()
                try:
                    step, left = self._decoder.decode(left, STEP_BYTES)
                except Undecodable:
                    raise self._damage_error() from None
                if step:
                    yield step

    def end(self) -> None:
        """Raises `BadRequest` if the body broke off."""
        if not self._decoder.is_over:
            raise self._damage_error()

    def _begin_member(self) -> None:
        self._members += 1
        if self._coding not in MEMBERS or self._members > MOST_MEMBERS:
            raise self._damage_error()
        self._decoder = DECODERS[self._coding]()

    def _damage_error(self) -> BadRequest:
        return BadRequest("invalid_content_encoding", f"The body is not whole and valid {self._coding}.")


async def unpacked(raw: bytes, coding: str, most: int, room: BodyRoom) -> bytes:
    """The whole body, unpacked. Raises `BadRequest`, `TooLarge`, `Unavailable`.

    The beginning, which is all of most bodies, is unpacked on the event loop. The rest is unpacked in a thread.
    """
    await load(coding)
    unpacker = Unpacker(coding)
    steps = unpacker.feed(raw)
    pieces: list[bytes] = []
    gather(pieces, steps, STEP_BYTES)
    if sum(map(len, pieces)) > STEP_BYTES:
        window = WINDOW_BYTES.get(coding, 0)
        room.take(window)
        try:
            await asyncio.to_thread(gather, pieces, steps, most)
        finally:
            room.give_back(window)
    if sum(map(len, pieces)) > most:
        raise too_large(most)
    unpacker.end()
    return await joined(pieces)


def gather(pieces: list[bytes], steps: Iterator[bytes], most: int) -> None:
    """Add steps to `pieces` until all are there, or they are longer than `most`."""
    size = sum(map(len, pieces))
    while size <= most and (step := next(steps, None)) is not None:
        pieces.append(step)
        size += len(step)


async def unpacked_pieces(pieces: AsyncIterator[bytes], coding: str, most: int) -> AsyncIterator[bytes]:
    """The unpacked pieces of a body that is forwarded as it comes. Other tasks run between the steps.

    Raises `BadRequest`, `TooLarge`.
    """
    await load(coding)
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
