"""A place behind the memory of a process in which entries are stored, and which processes share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cache.entry import Entry
from cache.names import Name

Found = Mapping[bool, Entry]
"""The entries of one digest, by whether they are streams."""

NONE: Found = {}


class Tier(Protocol):
    """Used from the event loop. Whatever fails in it is a miss, and requests do not wait for it again for a while."""

    name: str

    async def find(self, digest: str) -> Found: ...

    def put(self, name: Name, entry: Entry) -> None:
        """Store the entry soon, or drop it where the tier is away or busy. Neither waits nor raises."""

    async def close(self) -> None: ...
