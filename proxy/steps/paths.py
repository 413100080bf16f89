"""The one spelling of a path under `/v1/`, decided once: rules, endpoint table and provider see the same string.

Servers forgive what they like: a second slash, an escaped letter, a parameter behind a semicolon, a version that is
there twice. Whoever is forgiven there and not here reads what was never authorized. So nothing is forgiven: a path that
two readers could understand differently is refused, with the reason.
"""

from __future__ import annotations

import re

from proxy.endpoints import READ
from proxy.errors import BadRequest, NotFound

SHOWN_CHARS = 200

RESERVED = frozenset({"auth", "embed", "health", "key", "keys", "messages", "provider", "stats"})
"""First segments that are Sluice's own. What is sent there may be a secret of its user's, so no provider ever sees it,
also where nothing answers there yet."""

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
"""Escaped, they are letters to one reader and separators to the next, who unescapes once more."""

WORDS_OF_ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/responses")
"""Behind other segments they name the same endpoint with another server, and a model in the path. Not those that have a
meaning of their own there: `/threads/ID/messages` is no `/messages`."""


def canonical_path(raw: str, *, slash_in_name: bool = False) -> str:
    """The path, as it may go to a provider; escapes are in capital letters.

    `slash_in_name` lets `%2F` stand: for a name that goes nowhere. Raises `BadRequest` for what no path can be,
    `NotFound` for one that could be read in two ways, or is nobody's.
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
    """For a canonical path that is none of the endpoints read here: nor may it be one to a more forgiving server.

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
