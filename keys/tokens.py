"""The text of a virtual key: `<prefix><public id><secret><checksum>`.

The row is found by the public id. The secret is stored only as a salted hash. The checksum lets Sluice refuse a
mistyped or made-up token without a look-up. The secret has 190 bits, so one round of SHA-256 is as good as a slow hash
here, and takes a microsecond instead of a tenth of a second.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import zlib
from typing import NamedTuple

ALPHABET = string.ascii_letters + string.digits
PUBLIC_ID_CHARS = 12
SECRET_CHARS = 32
CHECKSUM_CHARS = 8
TAIL_CHARS = PUBLIC_ID_CHARS + SECRET_CHARS + CHECKSUM_CHARS
SALT_BYTES = 16


class MalformedToken(ValueError):
    """The text cannot be one of this installation's keys."""


class Token(NamedTuple):
    public_id: str
    secret: str


def new_token() -> Token:
    return Token(_random_text(PUBLIC_ID_CHARS), _random_text(SECRET_CHARS))


def write_token(token: Token, prefix: str) -> str:
    body = prefix + token.public_id + token.secret
    return body + _checksum(body)


def read_token(text: str, prefix: str) -> Token:
    """The parts of a token. Raises `MalformedToken` unless prefix, length, alphabet and checksum all fit."""
    start = len(prefix)
    if len(text) != start + TAIL_CHARS or not text.startswith(prefix):
        raise MalformedToken
    if not text.isascii() or not text[start:].isalnum() or _checksum(text[:-CHECKSUM_CHARS]) != text[-CHECKSUM_CHARS:]:
        raise MalformedToken
    middle = start + PUBLIC_ID_CHARS
    return Token(text[start:middle], text[middle:-CHECKSUM_CHARS])


def mask_token(public_id: str, prefix: str) -> str:
    """The part of a key's token that may be shown after it was minted."""
    return f"{prefix}{public_id[:4]}…"


def new_salt() -> bytes:
    return secrets.token_bytes(SALT_BYTES)


def hash_secret(secret: str, salt: bytes) -> bytes:
    return hashlib.sha256(salt + secret.encode()).digest()


def secret_matches(secret: str, salt: bytes, stored_hash: bytes) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(hash_secret(secret, salt), stored_hash)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def _random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
