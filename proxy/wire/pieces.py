"""Long bodies, handled in bounded pieces: copying 60 MiB in one go would block the event loop for 50 ms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

PIECE_BYTES = 256 * 1024
THREAD_BYTES = 1024 * 1024
"""Python lets other threads run while it joins more than this."""


class Pieces:
    """A body that consists of several texts, and is sent piece by piece."""

    __slots__ = ("_size", "_texts")

    def __init__(self, texts: Sequence[bytes | memoryview]) -> None:
        self._texts = texts
        self._size = sum(map(len, texts))

    def __len__(self) -> int:
        return self._size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for text in self._texts:
            view = memoryview(text)
            for at in range(0, len(view), PIECE_BYTES):
                yield bytes(view[at : at + PIECE_BYTES])
                await asyncio.sleep(0)  # writes are made at the end of a turn of the event loop


async def joined(pieces: Sequence[bytes]) -> bytes:
    """All of them as one, without blocking the event loop."""
    if sum(map(len, pieces)) > THREAD_BYTES:
        return await asyncio.to_thread(b"".join, pieces)
    return b"".join(pieces)


def in_pieces(text: bytes) -> bytes | Pieces:
    """The text as it is to be sent: a long one as `Pieces`."""
    return Pieces([text]) if len(text) > PIECE_BYTES else text
