"""Find the model that a form names, before the provider is chosen, and replace it by the provider's name for it.

The form is split at its boundary (RFC 7578), so that nothing inside a file is taken for a field. Whether the key may
use the model is checked elsewhere, on the whole form and more strictly (`multipart.py`).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

_BOUNDARY = re.compile(rb';[ \t]*boundary=(?:"([^"\r\n]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_NAME = re.compile(
    rb'content-disposition[ \t]*:[ \t]*form-data[^\r\n]*;[ \t]*name="?model"?[ \t]*(?:;|\r?$)', re.I | re.M
)
MOST_HEAD_BYTES = 8192
PIECE_BYTES = 64 * 1024


class ModelField(NamedTuple):
    """The value and its position in the form."""

    value: bytes
    start: int
    end: int


class FormReader:
    """Reads a form's pieces until `field` is found or `is_over` is true. `buffer` has all that it was fed."""

    def __init__(self, boundary: bytes) -> None:
        self.buffer = bytearray()
        self.field: ModelField | None = None
        self.is_over = False
        self._delimiter = b"--" + boundary
        self._at = 0
        """The position of the delimiter before the current part."""
        self._searched = 0

    @classmethod
    def of(cls, content_type: bytes) -> FormReader | None:
        match = _BOUNDARY.search(content_type)
        return cls(match[1] or match[2]) if match else None

    def feed(self, piece: bytes) -> None:
        self.buffer += piece
        while not self.is_over and self.field is None and self._part():
            pass

    def _part(self) -> bool:
        """Read the next part. Returns False if more of it has to come, or there is none."""
        buffer, delimiter = self.buffer, self._delimiter
        if self._at == 0 and not buffer.startswith(delimiter):
            position = buffer.find(b"\r\n" + delimiter)  # behind a preamble
            if position < 0:
                self.is_over = len(buffer) > MOST_HEAD_BYTES
                return False
            self._at = position + 2
        begin = self._at + len(delimiter)
        if len(buffer) < begin + 2:
            return False
        if buffer.startswith(b"--", begin):
            self.is_over = True
            return False
        head_end = buffer.find(b"\r\n\r\n", begin, begin + MOST_HEAD_BYTES)
        if head_end < 0:
            self.is_over = len(buffer) > begin + MOST_HEAD_BYTES
            return False
        start = head_end + 4
        stop = buffer.find(b"\r\n" + delimiter, max(start - 2, self._searched))
        if stop < 0:
            self._searched = max(start - 2, len(buffer) - len(delimiter) - 2)
            return False
        if _NAME.search(bytes(buffer[begin:head_end])):
            self.field = ModelField(bytes(buffer[start:stop]), start, stop)
        self._at, self._searched = stop + 2, 0
        return True


async def chained(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for at in range(0, len(first), PIECE_BYTES):
        yield first[at : at + PIECE_BYTES]
    async for piece in pieces:
        yield piece


async def renamed_pieces(pieces: AsyncIterator[bytes], field: ModelField, name: bytes) -> AsyncIterator[bytes]:
    """The form with `name` as the value of the field, and all other bytes as they came."""
    at = 0
    async for piece in pieces:
        begin, at = at, at + len(piece)
        if begin <= field.start < at:
            yield piece[: field.start - begin] + name
        elif begin < field.start:
            yield piece
        if at > field.end:
            yield piece[max(0, field.end - begin) :]
