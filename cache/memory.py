"""Entries in the memory of one process, bounded in bytes: the one that was used longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict

from cache.entry import Entry
from cache.names import Name
from cache.purges import Purges


class MemoryStore:
    """Used from the event loop's thread alone."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._entries: OrderedDict[Name, Entry] = OrderedDict()
        self._bytes = 0

    def __contains__(self, name: Name) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def used_bytes(self) -> int:
        return self._bytes

    def replace(self, name: Name, entry: Entry, by: Entry) -> None:
        """Store `by` in place of `entry`, if that is still there."""
        if self._entries.get(name) is entry:
            self.put(name, by)

    def get(self, name: Name, now: float) -> Entry | None:
        entry = self._entries.get(name)
        if entry is None:
            return None
        if now >= entry.expires_at:
            self.remove(name)
            return None
        self._entries.move_to_end(name)
        return entry

    def put(self, name: Name, entry: Entry) -> None:
        """An entry that is larger than the whole bound is not kept."""
        self.remove(name)
        size = entry.size
        if size > self._most_bytes:
            return
        self._entries[name] = entry
        self._bytes += size
        while self._bytes > self._most_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= oldest.size

    def remove(self, name: Name) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes -= entry.size

    def drop_hidden(self, purges: Purges) -> None:
        for name in [name for name, entry in self._entries.items() if purges.hides(name[0], entry.about)]:
            self.remove(name)
