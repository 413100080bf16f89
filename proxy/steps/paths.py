"""Canonical paths under `/v1/`: project rules, the endpoint table and the provider see the same string.

Many servers accept variants of a path: a second slash, an escaped letter, a parameter behind a semicolon, a version
that occurs twice. If a provider understood such a path differently than Sluice, it would serve a request that was never
authorized. So a path that two servers could understand differently is refused, with the reason.
"""

from __future__ import annotations

import re

from proxy.endpoints import READ
from proxy.errors import BadRequest, NotFound

SHOWN_CHARS = 200

RESERVED = frozenset({"auth", "embed", "health", "key", "keys", "messages", "provider", "stats"})
"""First segments that belong to Sluice. A request to them may contain a secret that is meant for Sluice, so it is never
forwarded to a provider, even if nothing answers there yet."""

_VISIBLE = re.compile(r"[!-~]*")
_ESCAPE = re.compile(r"%(?:([0-9A-Fa-f]{2})|)")
_FIRST = re.compile(r"[a-z][a-z0-9_-]*")
_VERSION = re.compile(r"v[0-9]")
_PARAMETERS = re.compile(r";[^/]*")
_DROPPED = re.compile(r"(?:;[^/]*|\.|%20)+(?=/|$)")
"""What some servers drop from the end of a segment."""

_DOTS = re.compile(r"\.{1,2}")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SEPARATING = frozenset(b"/\\%?#;")
"""If they are escaped, one server reads them as letters, and the next one, which unescapes once more, as separators."""

WORDS_OF_ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/responses")
"""On some servers a path that ends in these is the same endpoint, with a model in the segments before. Endings that
have another meaning there are left out: `/threads/ID/messages` is not `/messages`."""


def canonical_path(raw: str, *, slash_in_name: bool = False) -> str:
    """The canonical path, as it may be sent to a provider. Its escapes are in capital letters.

    `slash_in_name` allows `%2F`, for a model's name in a path that Sluice answers itself. Raises `BadRequest` if `raw`
    cannot be a path, and `NotFound` if it could be read in two ways, is reserved, or is not under `/v1/`.
    """
    if not _VISIBLE.fullmatch(raw) or "\\" in raw:
        raise BadRequest("invalid_path", "The path has characters that a URL cannot have; percent-encode them.")
    if not raw.startswith("/v1/") or len(raw) == len("/v1/"):
        raise NotFound("not_found", f"There is nothing at {raw[:SHOWN_CHARS]}. The API is under /v1/.")
    segments = raw[len("/v1/") :].split("/")
    if "" in segments:
        plain = "/v1/" + "/".join(filter(None, segments))
        raise not_canonical(raw, f"it has an empty segment; say {plain[:SHOWN_CHARS]}")
    if "%" in raw:
        raw = _ESCAPE.sub(lambda escape: _check_escape(escape, raw, slash_in_name), raw)
    if any(_DOTS.fullmatch(_PARAMETERS.sub("", segment)) for segment in segments):
        raise not_canonical(raw, "it has a dot segment")
    first = segments[0]
    if not _FIRST.fullmatch(first):
        raise not_canonical(raw, "its first segment is not in small letters, digits, '_' and '-'")
    if _VERSION.match(first):
        raise not_canonical(raw, "it names a version twice")
    if first in RESERVED and raw not in READ:
        raise NotFound("reserved_path", f"{raw[:SHOWN_CHARS]} is not there. /v1/{first} is the gateway's own.")
    return raw


def check_names_no_endpoint(path: str) -> None:
    """Check that a canonical path which is no endpoint in `READ` is not one on a more lenient server either.

    Raises `NotFound`.
    """
    plain = _DROPPED.sub("", path).lower()
    for words in WORDS_OF_ENDPOINTS:
        if plain.endswith(words):
            raise not_canonical(path, f"say /v1{words}")


def not_canonical(raw: str, reason: str) -> NotFound:
    return NotFound("path_not_canonical", f"{raw[:SHOWN_CHARS]} is not the spelling of a path here: {reason}.")


def _check_escape(escape: re.Match[str], raw: str, slash_in_name: bool) -> str:
    digits = escape[1]
    if digits is None:
        raise BadRequest("invalid_path", "The path has a '%' without two hexadecimal digits; write %25 for a '%'.")
    byte = int(digits, 16)
    if byte < 0x20 or byte == 0x7F:
        raise BadRequest("invalid_path", "The path has an escaped control character.")
    if byte in _UNRESERVED:
        raise not_canonical(raw, f"%{digits} stands for {chr(byte)!r}, which needs no escape")
    if byte in _SEPARATING and not (slash_in_name and byte == ord("/")):
        raise not_canonical(raw, f"%{digits} means one thing to who reads it once and another to who reads it twice")
    return escape[0].upper()
