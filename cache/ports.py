"""The ports of this app: what it needs from other apps. `config/ports.py` supplies the implementations."""

from __future__ import annotations

from typing import Protocol

from cache.entry import Entry
from strict.ports import Port


class ObjectOf(Protocol):
    def __call__(self, entry: Entry, path: str) -> bytes | None:
        """Return the answer as an object: that which a stream amounts to, or what is stored.

        Returns None if a stream has no such form, and if the answer is compressed.
        """


OBJECT_OF: Port[ObjectOf] = Port("cache.ports.OBJECT_OF")
