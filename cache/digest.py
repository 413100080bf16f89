"""The name under which an answer is stored: a digest of all that can change the answer, and of who may see it.

Two bodies have the same digest only if every JSON parser reads the same from both. So the order of members and white
space do not count, and all else does: 1 and 1.0 differ, and so do two spellings of one letter in Unicode. What parsers
read in different ways (a name that stands twice in an object, NaN) has no digest.
"""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from typing import Any, NoReturn

import msgspec

VERSION = b"1"
"""Changes with every change of what goes into a digest, so that no old entry answers under a new rule."""

NOT_IN_KEY = frozenset({"stream", "stream_options"})
"""They say how an answer comes, and not what it says."""

REMEMBERED, REMEMBERED_BYTES = 1024, 4096
"""How many digests are remembered, of requests of how many bytes at most. Whoever asks for a hit has often just asked
the same, byte for byte.
"""


class NoDigest(ValueError):
    """The body cannot be named safely: parsers read it in different ways."""


def digest_of(
    scope: bytes,
    path: str,
    query: bytes,
    headers: bytes,
    body: bytes,
    ignored: tuple[str, ...] = (),
) -> str:
    """SHA-256 in hexadecimal. `headers` are the lines that go to the provider and can change its answer; `body` is the
    text of the object that does.

    Raises `NoDigest`.
    """
    is_short = len(query) + len(headers) + len(body) <= REMEMBERED_BYTES
    return (_remembered if is_short else _digest)(scope, path, query, headers, body, ignored)


def _digest(scope: bytes, path: str, query: bytes, headers: bytes, body: bytes, ignored: tuple[str, ...]) -> str:
    hashed = sha256()
    for part in (VERSION, scope, path.encode(), query, headers, canonical(body, ignored)):
        hashed.update(b"%d:" % len(part))  # so that no part can end in the beginning of the next one
        hashed.update(part)
    return hashed.hexdigest()


_remembered = lru_cache(REMEMBERED)(_digest)


def canonical(body: bytes, ignored: tuple[str, ...] = ()) -> bytes:
    """The object in one spelling; numbers stay as they are written. Raises `NoDigest`."""
    try:
        members = _decoder.decode(body.decode())
        for name in (*NOT_IN_KEY, *ignored):
            members.pop(name, None)
        return _encoder.encode(members)
    except (ValueError, RecursionError) as error:  # also half a surrogate pair, which no UTF-8 has
        raise NoDigest("The body has no canonical form.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NoDigest("A name stands twice in one object.")
    return members


def _as_written(number: str) -> msgspec.Raw:
    return msgspec.Raw(number.encode())


def _refuse(constant: str) -> NoReturn:
    raise NoDigest(f"{constant} is no JSON.")


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_as_written, parse_float=_as_written, parse_constant=_refuse
)
_encoder = msgspec.json.Encoder(order="deterministic")
