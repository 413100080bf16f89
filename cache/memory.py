"""Entries in the memory of one process, bounded in bytes: the one that was used longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict

from cache.entry import Entry
from cache.names import Name
from cache.purges import Purges

DELETED_KEPT = 10_000
"""Ids that are remembered after their clients have deleted them. Their streams may be on their way still."""


class MemoryStore:
    """Used from the event loop's thread alone."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._entries: OrderedDict[Name, Entry] = OrderedDict()
        self._bytes = 0
        self._by_stored_id: dict[str, set[Name]] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: Name) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def used_bytes(self) -> int:
        return self._bytes

    @property
    def stored_ids(self) -> int:
        """How many ids of stored answers there are entries of."""
        return len(self._by_stored_id)

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
        if entry.stored_id in self._deleted:
            return
        self.remove(name)
        size = entry.size
        if size > self._most_bytes:
            return
        self._entries[name] = entry
        self._bytes += size
        if entry.stored_id:
            self._by_stored_id.setdefault(entry.stored_id, set()).add(name)
        while self._bytes > self._most_bytes:
            self.remove(next(iter(self._entries)))

    def remove(self, name: Name) -> None:
        entry = self._entries.pop(name, None)
        if entry is None:
            return
        self._bytes -= entry.size
        if entry.stored_id:
            names = self._by_stored_id[entry.stored_id]
            names.discard(name)
            if not names:
                del self._by_stored_id[entry.stored_id]

    def drop_hidden(self, purges: Purges) -> None:
        for name in [name for name, entry in self._entries.items() if purges.hides(name[0], entry.about)]:
            self.remove(name)

    def delete_stored(self, stored_id: str) -> None:
        """Remove the answers that the provider stored under this id, and take none in: it is being deleted there."""
        for name in tuple(self._by_stored_id.get(stored_id, ())):
            self.remove(name)
        self._deleted[stored_id] = None
        if len(self._deleted) > DELETED_KEPT:
            self._deleted.popitem(last=False)
