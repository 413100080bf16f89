"""Reads the target of a request: a path and a query, in origin or absolute form (RFC 9112, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

import httptools


class Place(NamedTuple):
    """The parts of a request target: `path` is percent-decoded, the others are as they came."""

    url: bytes
    raw_path: bytes
    path: str
    query: bytes


def place_of(url: bytes) -> Place | None:
    """Path and query of a request target in origin or absolute form; None for a target that has no valid path."""
    if url.startswith(b"/"):
        raw_path, _, query = url.partition(b"?")
        if not url.isascii() or b"#" in url:
            return None
    else:
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            return None
        raw_path, query = parsed.path, parsed.query or b""
        if not raw_path or not raw_path.startswith(b"/") or not raw_path.isascii():
            return None
    path = raw_path.decode("ascii")
    return Place(url, raw_path, unquote(path) if "%" in path else path, query)
