"""Hashes passwords outside of transactions: a hash takes a quarter of a second, and SQLite allows only one writer.

If a hash is needed inside a transaction, `HashOutside` ends the transaction. The code that began it computes the hash
and begins again, and the second time the hash is there. So no view has to know of this, not even Django's own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.contrib.auth.hashers import BCryptSHA256PasswordHasher, PBKDF2PasswordHasher
from django.db import connection


class Hashes:
    """The hashes and salts of one request, kept while it begins again."""

    def __init__(self) -> None:
        self._hashes: dict[tuple[Any, ...], str] = {}
        self._salts: list[Any] = []
        self._salt_count = 0

    def begin(self) -> None:
        self._salt_count = 0

    def salt(self, make: Callable[[], Any]) -> Any:
        """The same salts, in the same order, each time the request begins."""
        if self._salt_count == len(self._salts):
            self._salts.append(make())
        self._salt_count += 1
        return self._salts[self._salt_count - 1]

    def of(self, arguments: tuple[Any, ...], make: Callable[[], str]) -> str:
        if arguments not in self._hashes and connection.in_atomic_block:
            raise HashOutside(lambda: self.of(arguments, make))
        if arguments not in self._hashes:
            self._hashes[arguments] = make()
        return self._hashes[arguments]


class HashOutside(BaseException):
    """Asks to compute `make` and begin again. It is no `Exception`, because views turn those into answers."""

    def __init__(self, make: Callable[[], str]) -> None:
        super().__init__("a password is to be hashed outside of the transaction")
        self.make = make


hashes: ContextVar[Hashes | None] = ContextVar("hashes", default=None)
"""Of the current request, if some code can begin it again. None: hash at once."""


class BCrypt(BCryptSHA256PasswordHasher):
    def salt(self) -> Any:
        current = hashes.get()
        return super().salt() if current is None else current.salt(super().salt)

    def encode(self, password: str, salt: Any) -> str:
        return _outside((self.algorithm, password, salt), lambda: str(super(BCrypt, self).encode(password, salt)))


class PBKDF2(PBKDF2PasswordHasher):
    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        arguments = (self.algorithm, password, salt, iterations)
        return _outside(arguments, lambda: str(super(PBKDF2, self).encode(password, salt, iterations)))


def _outside(arguments: tuple[Any, ...], make: Callable[[], str]) -> str:
    current = hashes.get()
    return make() if current is None else current.of(arguments, make)
