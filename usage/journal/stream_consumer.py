"""The ledger's consumer with Redis. It writes what any host shipped, and runs the thread that ships this host's spool.

While Redis is away it writes from the spool, so that rows, and the budgets that depend on them, stay current. Events
that come again by the stream are in the ledger already and change nothing.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import redis
from django.conf import settings

from usage.event import RequestEvent
from usage.journal.consumer import BATCH, Consumer
from usage.journal.record import Damaged, read
from usage.journal.segments import read_lines, segments
from usage.journal.shipping import Shipping
from usage.journal.source import PendingEvent
from usage.journal.stream_source import START, StreamSource
from usage.journal.subscribers import LEDGER

BATCHES = 5
"""The most batches that are taken from the stream in one call of `drain`."""


class StreamConsumer(Consumer):
    """Each directory has one. Any number may share a Redis and a database."""

    def __init__(self, directory: Path, url: str) -> None:
        super().__init__(directory)
        self._url = url
        self._shipping: Shipping
        self._source: StreamSource | None = None
        self._events: list[PendingEvent] = []
        """Read from the stream, and not in the ledger yet."""
        self._written: list[PendingEvent] = []
        """In the ledger, and not acknowledged yet."""

    def _begin(self) -> None:
        self._shipping = Shipping(self._directory, self._url, self._state, self._lock, self._quarantine)
        self._shipping.start()

    def _work(self, is_last: bool) -> None:
        if is_last:
            self._shipping.stop()
            self._shipping.step()
        if self._shipping.is_redis_there:
            try:
                self._take()
            except redis.RedisError as error:
                self._shipping.went_away(error)
        if is_last:
            self._shipping.step(is_last=True)
        if is_last or not self._shipping.is_redis_there:
            self._write_events()
            self._write_from_the_spool()
        if is_last:
            self._shipping.step(is_last=True)

    def _end(self) -> None:
        self._shipping.stop()
        if self._source is not None:
            with contextlib.suppress(redis.RedisError):  # others take the entries over after JOURNAL_CLAIM_SECS
                self._source.done(self._written)
                self._source.close()

    def _take(self) -> None:
        """Write what any host shipped, at most `BATCHES` batches."""
        if self._source is None:
            stream, claim_s = self._shipping.stream, settings.JOURNAL_CLAIM_SECS
            self._source = StreamSource(stream, LEDGER, since=START, claim_s=claim_s)
        for _ in range(BATCHES):
            self._write_events()
            self._source.done(self._written)
            self._written = []
            self._events = self._source.read(BATCH)
            if not self._events:
                return

    def _write_events(self) -> None:
        batch = self._events
        if not batch:
            return

        def done(count: int) -> None:
            self._written += batch[len(batch) - len(self._events) : count]
            self._events = batch[count:]

        self._book([one.event for one in batch], LEDGER, done)

    def _write_from_the_spool(self) -> None:
        """Write events of this host's segments that may not be in the ledger. Damaged lines are left to the shipper."""
        for segment in segments(self._directory):
            with contextlib.suppress(FileNotFoundError):  # it is in the ledger and has just been removed
                while (piece := read_lines(segment, self._state.read.get(segment.name, 0))).lines:
                    events: list[RequestEvent] = []
                    for line in piece.lines:
                        with contextlib.suppress(Damaged):
                            events.append(read(line))
                    for first in range(0, len(events), BATCH):
                        self._book(events[first : first + BATCH], segment.name, nothing)
                    with self._lock:
                        if not segment.exists():
                            break
                        self._state.read[segment.name] = piece.end


def nothing(count: int) -> None:
    """Do nothing: the position is set after the whole piece instead."""
