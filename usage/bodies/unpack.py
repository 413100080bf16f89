"""Compressed bodies, as far as they are wanted: what nobody can read, nobody can look for secrets in."""

from __future__ import annotations

import zlib


class Unreadable(ValueError):
    """It cannot be unpacked here."""


def unpacked(raw: bytes, encoding: str, most: int) -> bytes:
    """At most so many bytes of a body with this `Content-Encoding`, be it whole or cut. Raises `Unreadable`."""
    for name in reversed([part.strip().lower() for part in encoding.split(",") if part.strip()]):
        if name == "identity":
            continue
        if name not in ("gzip", "x-gzip", "deflate"):
            raise Unreadable(name)
        raw = _inflated(raw, most)
    return raw


def _inflated(raw: bytes, most: int) -> bytes:
    # 32: gzip or zlib, by the head; a negative number: neither has a head, as some servers send `deflate`.
    for window_bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        try:
            return zlib.decompressobj(window_bits).decompress(raw, most)
        except zlib.error:
            continue
    raise Unreadable("damaged")
