"""A stored answer, read like one that a provider gives."""

from __future__ import annotations

import asyncio

from cache.entry import Entry, Headers
from cache.names import Name

AT_ONCE_BYTES = 32 * 1024
"""About how much is read at once: a client that reads slowly must not make the event loop copy much in advance."""


class StoredAnswer:
    """It comes as fast as it is read; with `timed`, no faster than it came when it was stored."""

    def __init__(self, name: Name, entry: Entry, *, timed: bool = False) -> None:
        self.name, self.entry = name, entry
        self.is_timed = timed
        self.status = entry.status
        self.headers: Headers = entry.headers
        self._pieces = entry.pieces
        self._at = 0
        self._again = b""
        self._began = asyncio.get_running_loop().time() if timed else 0.0

    async def comes_by(self, deadline: float) -> bool:
        if self._again or not self.is_timed or self._at == len(self._pieces):
            return True
        loop = asyncio.get_running_loop()
        due = self._began + self._pieces[self._at][0]
        await asyncio.sleep(min(due, deadline) - loop.time())
        return due <= deadline

    async def read(self) -> bytes:
        if self._again:
            again, self._again = self._again, b""
            return again
        if self._at == len(self._pieces):
            return b""
        offset_s, piece = self._pieces[self._at]
        if self.is_timed:
            await asyncio.sleep(self._began + offset_s - asyncio.get_running_loop().time())
            self._at += 1
            return piece
        return self._several()

    def _several(self) -> bytes:
        """The next pieces in one: a stream's frames come faster together."""
        texts: list[bytes] = []
        size = 0
        while self._at < len(self._pieces) and size < AT_ONCE_BYTES:
            text = self._pieces[self._at][1]
            texts.append(text)
            size += len(text)
            self._at += 1
        return texts[0] if len(texts) == 1 else b"".join(texts)

    def put_back(self, data: bytes) -> None:
        self._again = data + self._again

    def rest(self) -> bytes | None:
        if self.is_timed:
            return None
        texts = [text for _, text in self._pieces[self._at :]]
        self._at = len(self._pieces)
        again, self._again = self._again, b""
        return again + (texts[0] if len(texts) == 1 else b"".join(texts))

    def abort(self) -> None:
        """There is nothing to let go of."""
