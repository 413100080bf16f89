"""Entries in Redis, for all processes. Redis forgets them itself, in time or when it needs memory."""

from __future__ import annotations

import time

from cache.entry import Entry, packed, unpacked
from cache.names import Name, name_text
from cache.tiers.base import NONE, Found
from cache.tiers.circuit import PartAway
from cache.tiers.redis_commands import RedisCommands

TAG = "{sluice:cache}"
PREFIX = TAG + ":entry:"
LONGEST_S = 86_400
"""Redis holds an entry no longer, whatever its TTL: so a purge need not be remembered for longer."""

MOST_BYTES = 8 * 1024 * 1024
"""A larger entry is not stored here: other commands wait while one is sent."""


class RedisTier:
    name = "redis"

    def __init__(self, commands: RedisCommands) -> None:
        self._commands = commands

    async def find(self, digest: str) -> Found:
        try:
            answers: list[bytes | None] = await self._commands.run(
                "MGET", *(PREFIX + name_text((digest, is_stream)) for is_stream in (False, True))
            )
        except PartAway:
            return NONE
        found: dict[bool, Entry] = {}
        for is_stream, data in zip((False, True), answers, strict=True):
            entry = None if data is None else unpacked(data)
            if entry is not None:
                found[is_stream] = entry
        return found

    def put(self, name: Name, entry: Entry) -> None:
        lasts_s = min(entry.expires_at - time.time(), LONGEST_S)
        if lasts_s <= 0 or entry.text_bytes > MOST_BYTES or self._commands.is_away:
            return
        self._commands.run("SET", PREFIX + name_text(name), packed(entry), "PX", max(1, int(lasts_s * 1000)))

    async def close(self) -> None:
        """Its commands are others' too, and closed by who made them."""
