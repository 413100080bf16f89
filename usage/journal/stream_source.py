"""The source of a consumer's events with Redis: any number of processes of one name share the stream.

A process keeps the entries that it was given and is not done with while it lives: a thread renews its claim on them.
JOURNAL_CLAIM_SECS after the last renewal another process takes them over.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence

import redis
from django.conf import settings

from usage.journal.record import Damaged, read
from usage.journal.source import Backlog, PendingEvent, Source
from usage.journal.stream import Entry, Stream, connect, is_unknown_group
from usage.journal.subscribers import LEDGER, checked_name
from usage.loops import LOOPS

MOST_DELIVERIES = 10
"""An entry that was delivered more often, and never acknowledged, is taken for the cause of the processes' deaths."""

FORGOTTEN_MS = 3_600_000
FORGET_EVERY_S = 60.0
NOW, START = "$", "0"
UNBOUNDED = 2**53


class StreamSource(Source):
    """A process's membership in a group. `since` is the id after which a new group begins."""

    def __init__(self, stream: Stream, group: str, *, since: str, claim_s: float) -> None:
        """Raises `redis.RedisError`."""
        self._stream = stream
        self._group = group
        self._claim_s = claim_s
        self._member = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._open_ids: dict[str, None] = {}
        """Ids that `read` returned and that are not done."""
        self._look_at = self._forget_at = 0.0
        self._is_unsure = False
        """Whether Redis may have given this member entries in an answer that did not arrive."""
        self._closed = threading.Event()
        stream.register(group, since)
        self._keeping = threading.Thread(target=self._keep, name=f"journal-{group}", daemon=True)
        self._keeping.start()

    @classmethod
    def open(cls, url: str, name: str) -> StreamSource:
        """Open the stream for a consumer. Raises `redis.RedisError`, and `ValueError` for a name that none can have."""
        checked_name(name)
        return cls(Stream(connect(url)), name, since=NOW, claim_s=settings.JOURNAL_CLAIM_SECS)

    def read(self, most: int) -> list[PendingEvent]:
        was_unsure, self._is_unsure = self._is_unsure, True
        try:
            events = self._recover(most) if was_unsure else []
            if events:
                return events  # still unsure: there may be more of them
            events = self._read(most)
        except redis.RedisError as error:
            if not is_unknown_group(error):
                raise
            # Redis was emptied, so the group is gone. The new one gets all entries that came since.
            self._stream.register(self._group, START)
            events = []
        self._is_unsure = False
        return events

    def _read(self, most: int) -> list[PendingEvent]:
        events: list[PendingEvent] = []
        now = time.monotonic()
        if now >= self._look_at:
            events = self._claim_idle(most)
            if len(events) < most:
                self._look_at = now + self._claim_s / 3
        if now >= self._forget_at:
            self._stream.forget_idle_members(self._group, FORGOTTEN_MS)
            self._forget_at = now + FORGET_EVERY_S
        if len(events) < most:
            events += self._decode(self._stream.new(self._group, self._member, most - len(events)))
        return events

    def done(self, events: Sequence[PendingEvent]) -> None:
        ids = [one.token for one in events]
        self._stream.acknowledge(self._group, ids)
        for entry in ids:
            self._open_ids.pop(entry, None)

    def backlog(self) -> Backlog:
        group = self._stream.tend(LEDGER, UNBOUNDED).groups.get(self._group)
        if group is None or not group.waiting:
            return Backlog(0, 0, None)
        entry_bytes = self._stream.entry_bytes()
        return Backlog(group.waiting, round(group.waiting * entry_bytes), self._stream.first_at(group.needs))

    def close(self) -> None:
        """Give back entries that are not done, so that another process need not wait for them."""
        self._closed.set()
        self._keeping.join()
        ids, self._open_ids = list(self._open_ids), {}
        try:
            self._stream.give_back(self._group, self._member, ids)
        except redis.RedisError as error:
            if not is_unknown_group(error):
                raise

    def _keep(self) -> None:
        def step() -> None:
            if not self._closed.wait(self._claim_s / 3):
                with contextlib.suppress(redis.RedisError):  # `read` raises it
                    self._stream.keep(self._group, self._member)

        LOOPS.named("journal-membership").run_until(self._closed, step)

    def _recover(self, most: int) -> list[PendingEvent]:
        """Return entries that Redis gave this member in an answer that did not arrive."""
        after = START
        while page := self._stream.own(self._group, self._member, after, most):
            after = page[-1].id
            if events := self._decode([entry for entry in page if entry.id not in self._open_ids]):
                return events
        return []

    def _claim_idle(self, most: int) -> list[PendingEvent]:
        entries = self._stream.take_over(self._group, self._member, int(self._claim_s * 1000), most)
        if not entries:
            return []
        deliveries = self._stream.deliveries(self._group, self._member, entries[0].id, entries[-1].id)
        good: list[Entry] = []
        for entry in entries:
            if deliveries.get(entry.id, 0) > MOST_DELIVERIES:
                self._stream.quarantine(self._group, entry, f"given out {MOST_DELIVERIES} times and never done with")
            else:
                good.append(entry)
        return self._decode(good)

    def _decode(self, entries: Sequence[Entry]) -> list[PendingEvent]:
        events: list[PendingEvent] = []
        gone: list[str] = []
        for entry in entries:
            if entry.line is None:
                gone.append(entry.id)
                continue
            try:
                event = read(entry.line)
            except Damaged as error:
                self._stream.quarantine(self._group, entry, str(error))
            else:
                events.append(PendingEvent(entry.id, event))
                self._open_ids[entry.id] = None
        self._stream.acknowledge(self._group, gone)
        return events
