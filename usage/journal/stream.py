"""The journal in Redis: one stream for all hosts. Each consumer is a group, and each process of it a member.

All keys have the same hash tag, so that a Redis cluster keeps them on one node. An entry is a line of a segment,
including its checksum.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

log = logging.getLogger("sluice.journal")

EVENTS = "{sluice:journal}:events"
EPOCH = "{sluice:journal}:epoch"
COUNTS = "{sluice:journal}:counts"
QUARANTINE = "{sluice:journal}:set-aside"
LINE = b"line"

TIMEOUT_S = 2.0
DROPPED_AT_ONCE = 1_000
PAGE = 10_000
GIVE_BACK_IDLE_MS = 10**9
QUARANTINED_ENTRIES = 10_000
"""About the most entries that are kept in quarantine. The oldest are deleted."""

LUA = Path(__file__).parent / "lua"


class Entry(NamedTuple):
    """An entry of the stream. `line` is None if the entry was deleted."""

    id: str
    line: bytes | None


class ShipResult(NamedTuple):
    """`id` is the id of the last entry; empty if the stream was full, None if Redis has another epoch."""

    epoch: str
    id: str | None


class Group(NamedTuple):
    """`needs` is the first id that the group is not done with. `dropped` and `quarantined` count from the beginning."""

    name: str
    needs: str
    waiting: int
    dropped_now: int
    dropped: int
    quarantined: int


class TendResult(NamedTuple):
    epoch: str
    length: int
    groups: dict[str, Group]


def connect(url: str, timeout_s: float = TIMEOUT_S) -> redis.Redis:
    """Return a client that never retries by itself: its users know what may be repeated."""
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


def id_before(one: str, other: str) -> bool:
    """Whether the first id is before the second in the stream."""
    return id_number(one) < id_number(other)


def id_number(entry: str) -> tuple[int, int]:
    milliseconds, _, serial = entry.partition("-")
    return int(milliseconds), int(serial)


class Stream:
    """Operations on the stream. Every method raises `redis.RedisError`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client  # redis-py's types do not say whether a result has to be awaited
        self._ship = client.register_script((LUA / "ship.lua").read_text())
        self._tend = client.register_script((LUA / "tend.lua").read_text())

    def ship(self, lines: Sequence[bytes], epoch: str, most_entries: int) -> ShipResult:
        """Add lines if the epoch is unchanged.

        The epoch changes if Redis is emptied, restarted or replaced, because entries may be lost then.
        """
        reply: Any = self._ship(keys=[EVENTS, EPOCH], args=[epoch, secrets.token_hex(8), most_entries, *lines])
        return ShipResult(reply[0].decode(), reply[1].decode() if len(reply) > 1 else None)

    def tend(self, ledger: str, most_entries: int) -> TendResult:
        """Delete entries that all groups are done with.

        Beyond `most_entries`, delete also the oldest ones that the ledger is done with, although others need them.
        """
        reply: Any = self._tend(keys=[EVENTS, EPOCH, COUNTS], args=[ledger, most_entries, DROPPED_AT_ONCE])
        groups = [Group(name.decode(), needs.decode(), *numbers) for name, needs, *numbers in reply[2:]]
        return TendResult(reply[0].decode(), reply[1], {group.name: group for group in groups})

    def entry_bytes(self) -> float:
        """Return the average bytes of memory that an entry takes in Redis."""
        length = self._client.xlen(EVENTS)
        return (self._client.memory_usage(EVENTS) or 0) / length if length else 0.0

    def register(self, group: str, since: str) -> None:
        """Create a group that begins after the id `since` (`$`: the last one). An existing group is left unchanged."""
        try:
            self._client.xgroup_create(EVENTS, group, since, mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def new(self, group: str, member: str, most: int) -> list[Entry]:
        """Return the next entries that no member of the group was given yet."""
        return self._read_group(group, member, ">", most)

    def own(self, group: str, member: str, after: str, most: int) -> list[Entry]:
        """Return entries after an id that this member was given and has not acknowledged."""
        return self._read_group(group, member, after, most)

    def take_over(self, group: str, member: str, idle_ms: int, most: int) -> list[Entry]:
        """Take over entries that other members have not renewed for `idle_ms`, or gave back."""
        entries: list[Entry] = []
        cursor = b"0-0"
        while len(entries) < most:
            options = (idle_ms, cursor, "COUNT", most - len(entries))
            cursor, pairs, *_ = self._client.execute_command("XAUTOCLAIM", EVENTS, group, member, *options)
            entries += [entry_of(pair) for pair in pairs if pair[0] is not None]
            if cursor == b"0-0":
                break
        return entries

    def deliveries(self, group: str, member: str, first: str, last: str) -> dict[str, int]:
        """Return how often each of the member's entries in this range was delivered to any member."""
        return {
            one["message_id"].decode(): one["times_delivered"]
            for one in self._pending(group, member, first=first, last=last)
        }

    def keep(self, group: str, member: str) -> None:
        """Renew the member's claim on all entries that it was given."""
        first = "-"
        while ids := [one["message_id"] for one in self._pending(group, member, first=first)]:
            self._client.xclaim(EVENTS, group, member, 0, ids, idle=0, justid=True)
            first = f"({ids[-1].decode()}"

    def give_back(self, group: str, member: str, ids: Sequence[str]) -> None:
        """Release the member's entries, so that another member can take them over without waiting.

        Their count of deliveries is reset, because the member did not die of them.
        """
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            self._client.xclaim(EVENTS, group, member, 0, page, idle=GIVE_BACK_IDLE_MS, retrycount=0, justid=True)

    def acknowledge(self, group: str, ids: Sequence[str]) -> None:
        if ids:
            self._client.xack(EVENTS, group, *ids)

    def quarantine(self, group: str, entry: Entry, why: str) -> None:
        """Copy an entry that cannot be used to the quarantine, and acknowledge it."""
        log.error("Entry %s of the journal is quarantined in %s for %s: %s.", entry.id, QUARANTINE, group, why)
        with self._client.pipeline(transaction=True) as together:
            fields = {"id": entry.id, "group": group, "why": why, "line": entry.line or b""}
            together.xadd(QUARANTINE, fields, maxlen=QUARANTINED_ENTRIES, approximate=True)
            together.hincrby(COUNTS, f"aside:{group}", 1)
            together.xack(EVENTS, group, entry.id)
            together.execute()

    def quarantined(self, group: str) -> list[tuple[str, str, bytes]]:
        """Return the id, reason and line of each entry in quarantine that is the group's."""
        return [
            (entry.decode(), fields[b"why"].decode(errors="replace"), fields[b"line"])
            for entry, fields in self._client.xrange(QUARANTINE)
            if fields.get(b"group") == group.encode()
        ]

    def forget_quarantined(self, ids: Sequence[str]) -> None:
        if ids:
            self._client.xdel(QUARANTINE, *ids)

    def forget_idle_members(self, group: str, idle_ms: int) -> None:
        """Delete members that have no entries and have been idle for longer than `idle_ms`."""
        for member in self._client.xinfo_consumers(EVENTS, group):
            if not member["pending"] and member["idle"] > idle_ms:
                self._client.xgroup_delconsumer(EVENTS, group, member["name"])

    def first_at(self, since: str) -> float | None:
        """Return when the first entry from this id on was shipped, in Unix seconds; None if there is none."""
        entries = self._client.xrange(EVENTS, since, "+", count=1)
        return id_number(entries[0][0].decode())[0] / 1000 if entries else None

    def _pending(self, group: str, member: str, *, first: str = "-", last: str = "+") -> list[dict[str, Any]]:
        """Return the member's unacknowledged entries, at most `PAGE`."""
        entries: list[dict[str, Any]] = self._client.xpending_range(EVENTS, group, first, last, PAGE, member)
        return entries

    def _read_group(self, group: str, member: str, after: str, most: int) -> list[Entry]:
        reply = self._client.xreadgroup(group, member, {EVENTS: after}, count=most)
        return [entry_of(pair) for _, pairs in reply for pair in pairs]


def is_unknown_group(error: redis.RedisError) -> bool:
    return isinstance(error, ResponseError) and str(error).startswith("NOGROUP")


def entry_of(pair: Any) -> Entry:
    entry, fields = pair
    if isinstance(fields, list):  # redis-py does not parse this reply: names and values alternate
        fields = dict(zip(fields[::2], fields[1::2], strict=True))
    if not fields:
        return Entry(entry.decode(), None)
    # An entry without a line was written by another program. Its text fails the checksum when it is read.
    return Entry(entry.decode(), fields.get(LINE) or b" ".join(b"%s=%s" % pair for pair in fields.items()))
