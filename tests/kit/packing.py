"""Compressed bytes of the odder kinds."""

from __future__ import annotations

import zlib


def bare_deflate(raw: bytes) -> bytes:
    """DEFLATE without zlib's frame, as some send it for `deflate`."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(raw) + packer.flush()
