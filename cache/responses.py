"""The cache of one process: its settings, and where its entries are."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from cache.entry import Entry
from cache.flight import RecordingRoom
from cache.memory import MemoryStore
from cache.names import Name
from cache.purges import Purge, Purges
from cache.remote import RemoteCalls
from cache.tiers.base import Tier
from cache.tiers.database import DatabaseTier

OFF, ON, OPT_IN = "off", "on", "opt_in"


class ResponseCache:
    """Entries are in the memory of the process, and behind it in `tiers`, which are asked in their order.

    `default_policy` is that of projects that say nothing: `off`, `on`, or `opt_in`, where each request asks.
    """

    def __init__(
        self,
        *,
        memory_bytes: int,
        default_policy: str,
        default_ttl_s: int,
        most_object_bytes: int,
        shared: Tier | None = None,
        kept: DatabaseTier | None = None,
        remote: RemoteCalls | None = None,
    ) -> None:
        self.memory = MemoryStore(memory_bytes)
        self.room = RecordingRoom(memory_bytes)
        self.default_policy = default_policy
        self.default_ttl_s = default_ttl_s
        self.most_object_bytes = most_object_bytes
        self.purges = Purges()
        self.tiers: tuple[Tier, ...] = tuple(tier for tier in (shared, kept) if tier is not None)
        self._kept = kept
        self.remote = remote
        """Calls of other processes; None where they share nothing but the database."""
        self.calls: dict[tuple[str, bool, bool], Any] = {}
        """The calls to providers that are under way and may be joined (`proxy/joining.py`), by digest and form."""

    async def find_below(self, digest: str) -> dict[bool, Entry]:
        """What the tiers behind the memory have, by whether it is a stream. Memory and the tiers in front have it then.

        Never raises: a tier that fails has nothing.
        """
        for at, tier in enumerate(self.tiers):
            found = {
                is_stream: entry
                for is_stream, entry in (await tier.find(digest)).items()
                if self.remember((digest, is_stream), entry)
            }
            if found:
                for is_stream, entry in found.items():
                    for nearer in self.tiers[:at]:
                        nearer.put((digest, is_stream), entry)
                return found
        return {}

    def remember(self, name: Name, entry: Entry) -> bool:
        """Have in memory what a tier has. False where it is of no use any more."""
        if time.time() >= entry.expires_at or self.purges.hides(name[0], entry.about):
            return False
        self.memory.put(name, entry)
        return True

    def store(self, name: Name, entry: Entry) -> None:
        """In memory now and in the tiers soon, unless it was purged while the provider made it."""
        if self.purges.hides(name[0], entry.about):
            return
        self.memory.put(name, entry)
        for tier in self.tiers:
            tier.put(name, entry)

    def count_hit(self, digest: str, entry: Entry, now: float) -> None:
        if self._kept is not None:
            self._kept.count_hit((digest, entry.came_as_stream), now)

    def purge(self, purges: Iterable[Purge]) -> None:
        """Use nothing of what they hide from now on."""
        self.purges.add(purges, time.time())
        self.memory.drop_hidden(self.purges)
