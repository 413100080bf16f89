"""Decompress bodies up to a bound, because secrets can be found only in decompressed text."""

from __future__ import annotations

import zlib

WITH_HEAD = (zlib.MAX_WBITS | 32,)
WITH_OR_WITHOUT = (*WITH_HEAD, -zlib.MAX_WBITS)
"""Values of zlib's `wbits`. Some servers send `deflate` without its header."""


class Unreadable(ValueError):
    """A body cannot be decompressed."""


def unpacked(raw: bytes, encoding: str, most: int) -> bytes:
    """Decompress at most `most` bytes of a body with this `Content-Encoding`. It may be cut. Raises `Unreadable`."""
    for name in reversed([part.strip().lower() for part in encoding.split(",") if part.strip()]):
        if name == "identity":
            continue
        if name not in ("gzip", "x-gzip", "deflate"):
            raise Unreadable(name)
        raw = _inflated(raw, most, WITH_HEAD if name.endswith("gzip") else WITH_OR_WITHOUT)
    return raw


def _inflated(raw: bytes, most: int, formats: tuple[int, ...]) -> bytes:
    for window_bits in formats:
        try:
            return zlib.decompressobj(window_bits).decompress(raw, most)
        except zlib.error:
            continue
    raise Unreadable("damaged")
