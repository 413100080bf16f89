"""Passwords are hashed outside of transactions: a hash takes a quarter of a second, and SQLite has one writer alone.

A hash that is wanted inside of a transaction ends it: `HashOutside` goes up to whoever began it, who works the hash out
and begins again. The second time the hash is there. So no view has to know of it, Django's own neither.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.contrib.auth.hashers import BCryptSHA256PasswordHasher, PBKDF2PasswordHasher
from django.db import connection


class Hashes:
    """What was hashed for one request, over all its beginnings."""

    def __init__(self) -> None:
        self._hashes: dict[tuple[Any, ...], str] = {}
        self._salts: list[Any] = []
        self._salt_count = 0

    def begin(self) -> None:
        self._salt_count = 0

    def salt(self, make: Callable[[], Any]) -> Any:
        """The same ones, in the same order, at each beginning."""
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
    """Work out `make`, and begin again. No `Exception`, which views turn into answers."""

    def __init__(self, make: Callable[[], str]) -> None:
        super().__init__("a password is to be hashed outside of the transaction")
        self.make = make


hashes: ContextVar[Hashes | None] = ContextVar("hashes", default=None)
"""Those of the request under way, where somebody can begin it again."""


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
