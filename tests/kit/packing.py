"""Compressed bytes in unusual formats."""

from __future__ import annotations

import zlib


def bare_deflate(raw: bytes) -> bytes:
    """DEFLATE without zlib's header and checksum, which some programs send as `deflate`."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(raw) + packer.flush()
