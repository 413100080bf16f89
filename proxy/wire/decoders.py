"""Decoders for content encodings (RFC 9110, section 8.4.1). They unpack in steps, with bounded output and memory."""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

GZIP_BITS, ZLIB_BITS, BARE_BITS = 31, 15, -15

ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
"""The largest window that a sender may rely on (RFC 9659, section 3). A frame that needs more is not unpacked."""

ZSTD_SLICE_BYTES = 128
"""Data that is unpacked at a time: four bytes may become a block of 128 KiB, and libzstd does not bound its output."""

BROTLI_WINDOW_BYTES = 16 * 1024 * 1024
"""The largest window of the format (RFC 7932, section 9.1)."""

MOST_MEMBERS = 100
"""Of one text. Each member takes a copy of the data that follows it."""


class Undecodable(ValueError):
    """Bytes that are not what their header says, or that break off."""

    def __init__(self, message: str = "it is not what its content-encoding says") -> None:
        super().__init__(message)


class Decoder:
    """Unpacks one text, or one member of it, from data that comes in pieces."""

    is_over = False
    """The end of the text, or of the member, was reached."""
    has_more = False
    """There may be more text without more data."""

    def decode(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        """(Text of about `most` bytes at most, the data that is left.) Raises `Undecodable`."""
        raise NotImplementedError


class Inflater(Decoder):
    """gzip and deflate. Its text is never more than `most`."""

    def __init__(self, bits: int) -> None:
        self._inflater = zlib.decompressobj(bits)

    def decode(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        try:
            text = self._inflater.decompress(data, most)
        except zlib.error:
            raise Undecodable from None
        self.is_over = self._inflater.eof
        if self.is_over:
            self.has_more = False
            return text, self._inflater.unused_data
        self.has_more = len(text) == most  # zlib may hold back output although it has used up all input
        return text, self._inflater.unconsumed_tail


class Deflate(Inflater):
    """The zlib format. Some senders leave out its header, against the standard; the first two bytes tell."""

    def __init__(self) -> None:
        super().__init__(ZLIB_BITS)
        self._begun: bytes | None = b""

    def decode(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        if self._begun is not None:
            data = self._begun + data
            if len(data) < 2:
                self._begun = data
                return b"", b""
            self._begun = None
            if data[0] & 15 != 8 or (data[0] << 8 | data[1]) % 31:
                super().__init__(BARE_BITS)
                self._begun = None
        return super().decode(data, most)


class Zstd(Decoder):
    """One frame. `decode` may return up to 4 MiB more than `most`."""

    def __init__(self) -> None:
        module = import_module("zstandard")
        self._error = module.ZstdError
        self._frame = module.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()

    def decode(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        texts: list[bytes] = []
        size = 0
        for at in range(0, len(data), ZSTD_SLICE_BYTES):
            end = at + ZSTD_SLICE_BYTES
            try:
                text = self._frame.decompress(data[at:end])
            except self._error:
                raise Undecodable from None
            texts.append(text)
            size += len(text)
            self.is_over = self._frame.eof
            if self.is_over:
                return b"".join(texts), self._frame.unused_data + data[end:]
            if size >= most:
                return b"".join(texts), data[end:]
        return b"".join(texts), b""


class Brotli(Decoder):
    """`decode` may return up to twice `most`. The decoder keeps the data that it gets."""

    def __init__(self) -> None:
        module = import_module("brotli")
        self._error = module.error
        self._stream: Any = module.Decompressor()

    def decode(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        fed, left = (b"", data) if self.has_more else (data, b"")
        try:
            text: bytes = self._stream.process(fed, output_buffer_limit=most)
        except self._error:
            raise Undecodable from None
        self.is_over = self._stream.is_finished()
        # It may hold back text although `can_accept_more_data` is true. Only a call that returns none shows the end.
        self.has_more = not self.is_over and (bool(text) or not self._stream.can_accept_more_data())
        return text, left


DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": partial(Inflater, GZIP_BITS),
    "deflate": Deflate,
    "zstd": Zstd,
    "br": Brotli,
}
MEMBERS = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
"""Encodings in which several members in a row are one text, and how each member begins."""

WINDOW_BYTES = {"zstd": ZSTD_WINDOW_BYTES, "br": BROTLI_WINDOW_BYTES}
"""Memory that unpacking may take besides the text, for encodings that need much."""

_MODULES = {"zstd": "zstandard", "br": "brotli"}


async def load(coding: str) -> None:
    """Import the encoding's package, off the event loop. Most servers never need one, and zstandard takes 2.4 MB."""
    module = _MODULES.get(coding)
    if module is not None and module not in sys.modules:
        await asyncio.to_thread(import_module, module)
