"""Provider credentials at rest: encrypted with Fernet under `ENCRYPTION_KEY`.

`ENCRYPTION_KEY` may list several keys, comma-separated: the first encrypts, all of them decrypt, so a key is
replaced by putting the new one in front, and rewriting what is stored (`reencrypt.py`).
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
    """Stored under a key that `ENCRYPTION_KEY` does not list, or damaged."""


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(secret: str) -> str:
    """Raises `ValidationError` where there is no key to do it with."""
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
    """The same secret under the first key; what was given, where that is its key already. Raises `Undecryptable`."""
    keys = tuple(settings.ENCRYPTION_KEYS)
    if not keys:
        raise Undecryptable(NO_KEY)
    try:
        _box(keys[:1]).decrypt(stored.encode())
    except InvalidToken:
        return encrypt(decrypt(stored))
    return stored
