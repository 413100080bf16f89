"""The journal in Redis: one stream for all hosts, in which each consumer is a group.

All names carry one hash tag, so that a cluster keeps them together. An entry is a line of the journal as it stands in a
segment, so that its checksum goes with it.
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
"""Kept of what is quarantined; the oldest go."""

LUA = Path(__file__).parent / "lua"


class Entry(NamedTuple):
    """`line` is None where the entry was deleted."""

    id: str
    line: bytes | None


class ShipResult(NamedTuple):
    """`id` is the last entry's; empty where the stream was full, None where the epoch is another one."""

    epoch: str
    id: str | None


class Group(NamedTuple):
    """`needs` is the first id that it is not done with; `dropped` and `quarantined` are for all time."""

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
    """A client without retries of its own: who uses it knows what may be repeated."""
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


def id_before(one: str, other: str) -> bool:
    """Whether an entry stands before another."""
    return id_number(one) < id_number(other)


def id_number(entry: str) -> tuple[int, int]:
    milliseconds, _, serial = entry.partition("-")
    return int(milliseconds), int(serial)


class Stream:
    """What is done with the stream. Every method raises `redis.RedisError`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client  # its types leave open whether it is awaited
        self._ship = client.register_script((LUA / "ship.lua").read_text())
        self._tend = client.register_script((LUA / "tend.lua").read_text())

    def ship(self, lines: Sequence[bytes], epoch: str, most_entries: int) -> ShipResult:
        """Add lines, if the stream is still the one of that epoch. The epoch changes when Redis was emptied, started
        again or replaced: then what it held may be gone.
        """
        reply: Any = self._ship(keys=[EVENTS, EPOCH], args=[epoch, secrets.token_hex(8), most_entries, *lines])
        return ShipResult(reply[0].decode(), reply[1].decode() if len(reply) > 1 else None)

    def tend(self, ledger: str, most_entries: int) -> TendResult:
        """Delete what nobody needs any more; beyond the bound, also what the ledger alone is done with."""
        reply: Any = self._tend(keys=[EVENTS, EPOCH, COUNTS], args=[ledger, most_entries, DROPPED_AT_ONCE])
        groups = [Group(name.decode(), needs.decode(), *numbers) for name, needs, *numbers in reply[2:]]
        return TendResult(reply[0].decode(), reply[1], {group.name: group for group in groups})

    def entry_bytes(self) -> float:
        """What an entry takes in Redis' memory, on the average."""
        length = self._client.xlen(EVENTS)
        return (self._client.memory_usage(EVENTS) or 0) / length if length else 0.0

    def register(self, group: str, since: str) -> None:
        """`since`: the id after which the group begins; `$`: the last one that there is. A known group stays."""
        try:
            self._client.xgroup_create(EVENTS, group, since, mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def new(self, group: str, member: str, most: int) -> list[Entry]:
        """The next entries that no member of the group has yet."""
        return self._read_group(group, member, ">", most)

    def own(self, group: str, member: str, after: str, most: int) -> list[Entry]:
        """Entries behind that id that this member has and has not acknowledged."""
        return self._read_group(group, member, after, most)

    def take_over(self, group: str, member: str, idle_ms: int, most: int) -> list[Entry]:
        """Entries that other members left alone for so long, or gave back."""
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
        """How often each entry of this range that the member has was given to somebody."""
        return {
            one["message_id"].decode(): one["times_delivered"]
            for one in self._pending(group, member, first=first, last=last)
        }

    def keep(self, group: str, member: str) -> None:
        """Say that the member still works on all that it was given."""
        first = "-"
        while ids := [one["message_id"] for one in self._pending(group, member, first=first)]:
            self._client.xclaim(EVENTS, group, member, 0, ids, idle=0, justid=True)
            first = f"({ids[-1].decode()}"

    def give_back(self, group: str, member: str, ids: Sequence[str]) -> None:
        """Say that the member does not work on these, and was no worse for them: another one need not wait."""
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            self._client.xclaim(EVENTS, group, member, 0, page, idle=GIVE_BACK_IDLE_MS, retrycount=0, justid=True)

    def acknowledge(self, group: str, ids: Sequence[str]) -> None:
        if ids:
            self._client.xack(EVENTS, group, *ids)

    def quarantine(self, group: str, entry: Entry, why: str) -> None:
        """Keep what cannot be used where an operator finds it, and be done with it."""
        log.error("Entry %s of the journal is quarantined in %s for %s: %s.", entry.id, QUARANTINE, group, why)
        with self._client.pipeline(transaction=True) as together:
            fields = {"id": entry.id, "group": group, "why": why, "line": entry.line or b""}
            together.xadd(QUARANTINE, fields, maxlen=QUARANTINED_ENTRIES, approximate=True)
            together.hincrby(COUNTS, f"aside:{group}", 1)
            together.xack(EVENTS, group, entry.id)
            together.execute()

    def quarantined(self, group: str) -> list[tuple[str, str, bytes]]:
        """Id, reason and line of each entry that is quarantined for the group."""
        return [
            (entry.decode(), fields[b"why"].decode(errors="replace"), fields[b"line"])
            for entry, fields in self._client.xrange(QUARANTINE)
            if fields.get(b"group") == group.encode()
        ]

    def forget_quarantined(self, ids: Sequence[str]) -> None:
        if ids:
            self._client.xdel(QUARANTINE, *ids)

    def forget_idle_members(self, group: str, idle_ms: int) -> None:
        """Forget those that have nothing and have not been heard of for so long."""
        for member in self._client.xinfo_consumers(EVENTS, group):
            if not member["pending"] and member["idle"] > idle_ms:
                self._client.xgroup_delconsumer(EVENTS, group, member["name"])

    def first_at(self, since: str) -> float | None:
        """When the first entry from this id on was shipped, in Unix seconds."""
        entries = self._client.xrange(EVENTS, since, "+", count=1)
        return id_number(entries[0][0].decode())[0] / 1000 if entries else None

    def _pending(self, group: str, member: str, *, first: str = "-", last: str = "+") -> list[dict[str, Any]]:
        """At most a page."""
        entries: list[dict[str, Any]] = self._client.xpending_range(EVENTS, group, first, last, PAGE, member)
        return entries

    def _read_group(self, group: str, member: str, after: str, most: int) -> list[Entry]:
        reply = self._client.xreadgroup(group, member, {EVENTS: after}, count=most)
        return [entry_of(pair) for _, pairs in reply for pair in pairs]


def is_unknown_group(error: redis.RedisError) -> bool:
    return isinstance(error, ResponseError) and str(error).startswith("NOGROUP")


def entry_of(pair: Any) -> Entry:
    entry, fields = pair
    if isinstance(fields, list):  # unparsed: names and values in turn
        fields = dict(zip(fields[::2], fields[1::2], strict=True))
    if not fields:
        return Entry(entry.decode(), None)
    # What somebody else wrote there is no line, which shows when it is read.
    return Entry(entry.decode(), fields.get(LINE) or b" ".join(b"%s=%s" % pair for pair in fields.items()))
