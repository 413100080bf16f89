"""Encryption of stored credentials, with Fernet and the keys of `ENCRYPTION_KEY`.

`ENCRYPTION_KEY` may list several keys, separated by commas. The first one encrypts, and all of them decrypt. To replace
a key, put the new one in front and re-encrypt what is stored (`reencrypt.py`).
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ValidationError

NO_KEY = (
    "There is no ENCRYPTION_KEY, and the database has credentials that need it. Put the installation's secrets.env "
    "back into DATA_DIR, or set ENCRYPTION_KEY, and start again."
)


class Undecryptable(Exception):
    """The secret was encrypted with a key that `ENCRYPTION_KEY` does not list, or it is damaged."""


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(secret: str) -> str:
    """Raises `ValidationError` if there is no key."""
    if not settings.ENCRYPTION_KEYS:
        raise ValidationError({"secret": NO_KEY})
    return _box(tuple(settings.ENCRYPTION_KEYS)).encrypt(secret.encode()).decode()


def decrypt(stored: str) -> str:
    """Raises `Undecryptable`."""
    if not settings.ENCRYPTION_KEYS:
        raise Undecryptable(NO_KEY)
    try:
        return _box(tuple(settings.ENCRYPTION_KEYS)).decrypt(stored.encode()).decode()
    except InvalidToken as error:
        raise Undecryptable("It was encrypted under a key that ENCRYPTION_KEY does not list.") from error


def renew(stored: str) -> str:
    """The secret, encrypted with the first key; `stored` itself if it already is. Raises `Undecryptable`."""
    keys = tuple(settings.ENCRYPTION_KEYS)
    if not keys:
        raise Undecryptable(NO_KEY)
    try:
        _box(keys[:1]).decrypt(stored.encode())
    except InvalidToken:
        return encrypt(decrypt(stored))
    return stored
