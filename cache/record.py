"""Keeps what passes of a provider's answer, while somebody else reads it."""

from __future__ import annotations

import time
from typing import Protocol

from cache.entry import Headers, Piece

KEPT_HEADERS = frozenset({b"content-type", b"content-encoding", b"content-language", b"openai-version"})
"""All others are about the provider's connection, its limits, or this one request."""


class Source(Protocol):
    """What is recorded, as `proxy/wire/answer.py` describes it."""

    status: int
    headers: Headers

    async def comes_by(self, deadline: float) -> bool: ...

    async def read(self) -> bytes: ...

    def put_back(self, data: bytes) -> None: ...

    def rest(self) -> bytes | None: ...

    def abort(self) -> None: ...


class RecordingRoom:
    """How much all answers that are being recorded may take together: clients that read slowly keep them for long."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0


class RecordedAnswer:
    """An answer that passes through unchanged. It is kept as long as it is no larger than `most_bytes`, and as there is
    room.
    """

    def __init__(self, source: Source, most_bytes: int, room: RecordingRoom) -> None:
        self._source = source
        self._most_bytes = most_bytes
        self._room = room
        self._is_kept = True
        self._began = time.monotonic()
        self._pieces: list[Piece] = []
        self._bytes = 0
        self._again = b""
        self._is_over = False
        self.status, self.headers = source.status, source.headers

    @property
    def pieces(self) -> tuple[Piece, ...] | None:
        """The whole body; None where its end has not come, and where it was not kept."""
        return tuple(self._pieces) if self._is_over and self._is_kept else None

    @property
    def kept_headers(self) -> Headers:
        return [header for header in self.headers if header[0] in KEPT_HEADERS]

    async def comes_by(self, deadline: float) -> bool:
        return bool(self._again) or await self._source.comes_by(deadline)

    async def read(self) -> bytes:
        if self._again:
            again, self._again = self._again, b""
            return again
        piece = await self._source.read()
        self._keep(piece)
        if not piece:
            self._is_over = True
        return piece

    def put_back(self, data: bytes) -> None:
        self._again = data + self._again

    def rest(self) -> bytes | None:
        rest = self._source.rest()
        if rest is None:
            return None
        self._keep(rest)
        self._is_over = True
        again, self._again = self._again, b""
        return again + rest if again else rest

    def abort(self) -> None:
        """Also forget what was recorded."""
        self._drop()
        self._source.abort()

    def _keep(self, piece: bytes) -> None:
        if not self._is_kept or not piece:
            return
        size = len(piece)
        if self._bytes + size > self._most_bytes or self._room.used_bytes + size > self._room.most_bytes:
            self._drop()
            return
        self._bytes += size
        self._room.used_bytes += size
        self._pieces.append((time.monotonic() - self._began, piece))

    def _drop(self) -> None:
        self._is_kept = False
        self._room.used_bytes -= self._bytes
        self._bytes = 0
        self._pieces.clear()
