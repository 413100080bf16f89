"""The ledger's consumer where there is a Redis: it ships this host's spool, and writes what any host shipped.

While Redis is away it writes from the spool itself, so that rows, and the budgets that are read from them, stay fresh;
what comes a second time by the stream is in the ledger already and changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

import redis
from django.conf import settings

from usage.event import RequestEvent
from usage.journal.consumer import BATCH, TEND_EVERY_S, Consumer, GroupState
from usage.journal.record import Damaged, read
from usage.journal.segments import read_lines, segments
from usage.journal.shipper import Shipper
from usage.journal.source import Taken
from usage.journal.stream import Stream, connect
from usage.journal.stream_source import START, StreamSource
from usage.journal.subscribers import LEDGER

log = logging.getLogger("sluice.ledger")

BATCHES = 5
"""Taken from the stream before the spool is looked at again."""

PROBE_EVERY_S = 0.5
PROBE_PATIENCE_S = 0.25


def nothing(count: int) -> None:
    """Nobody need know how many of these are through."""


class StreamConsumer(Consumer):
    """One for each directory, any number on one Redis and one database."""

    def __init__(self, directory: Path, url: str) -> None:
        super().__init__(directory)
        self._probe = connect(url, PROBE_PATIENCE_S)
        self._stream = Stream(connect(url))
        self._shipper: Shipper
        self._source: StreamSource | None = None
        self._taken: list[Taken] = []
        """Given to us, and not in the ledger yet."""
        self._written: list[Taken] = []
        """In the ledger, and not acknowledged."""
        self._probe_at = self._tidy_at = 0.0

    def _begin(self) -> None:
        most = settings.JOURNAL_STREAM_MAX_EVENTS
        self._shipper = Shipper(self._directory, self._stream, self._state.read, most, self._set_aside)

    def _work(self, is_last: bool) -> None:
        try:
            if self._is_redis_there():
                self._shipper.ship()
                self._heed()
                self._take()
                if is_last:
                    self._tidy_at = 0.0
                    self._heed()
        except redis.RedisError as error:
            if not self._state.redis_failing:
                log.warning("Redis takes no events (%s); the ledger is written from the spool.", type(error).__name__)
            self._state.redis_failing = type(error).__name__
        if is_last or self._state.redis_failing:
            self._write_taken()
            self._write_from_the_spool()
            if is_last or self._is_time_to_tidy():
                self._clear()

    def _end(self) -> None:
        if self._source is not None:
            with contextlib.suppress(redis.RedisError):  # then others find out by themselves
                self._source.done(self._written)
                self._source.close()

    def _is_redis_there(self) -> bool:
        """Whether to try. Raises `redis.RedisError`."""
        if not self._state.redis_failing:
            return True
        if time.monotonic() < self._probe_at:
            return False
        self._probe_at = time.monotonic() + PROBE_EVERY_S
        self._probe.ping()
        log.warning("Redis takes events again.")
        self._state.redis_failing = ""
        return True

    def _take(self) -> None:
        """Write what any host shipped, if that is not too much."""
        if self._source is None:
            self._source = StreamSource(self._stream, LEDGER, since=START, claim_s=settings.JOURNAL_CLAIM_SECS)
        for _ in range(BATCHES):
            self._write_taken()
            self._source.done(self._written)
            self._written = []
            self._taken = self._source.read(BATCH)
            if not self._taken:
                return

    def _write_taken(self) -> None:
        batch = self._taken
        if not batch:
            return

        def done(count: int) -> None:
            self._written += batch[len(batch) - len(self._taken) : count]
            self._taken = batch[count:]

        self._book([one.event for one in batch], LEDGER, done)

    def _write_from_the_spool(self) -> None:
        """Write what is on this host and may not be in the ledger yet. Damaged lines are left to the shipper."""
        for segment in segments(self._directory):
            name = segment.name
            while (found := read_lines(segment, self._state.read.get(name, 0))).lines:
                events: list[RequestEvent] = []
                for line in found.lines:
                    with contextlib.suppress(Damaged):
                        events.append(read(line))
                for first in range(0, len(events), BATCH):
                    self._book(events[first : first + BATCH], name, nothing)
                self._state.read[name] = found.end

    def _heed(self) -> None:
        """Now and then: tidy the stream, and see what of ours the ledger has."""
        if not self._is_time_to_tidy():
            return
        tended = self._stream.tend(LEDGER, settings.JOURNAL_STREAM_MAX_EVENTS)
        entry_bytes = self._stream.entry_bytes()
        self._state.groups = {
            group.name: GroupState(group.waiting, round(group.waiting * entry_bytes), group.dropped, group.set_aside)
            for group in tended.groups.values()
        }
        for group in tended.groups.values():
            if group.dropped_now:
                log.error(
                    "Consumer %s of the journal has more to read than JOURNAL_STREAM_MAX_EVENTS; its oldest %d events "
                    "are dropped. Start it, or destroy its group if nobody wants them.",
                    group.name,
                    group.dropped_now,
                )
        self._shipper.heed(tended, LEDGER)
        self._clear()

    def _clear(self) -> None:
        # Half of the spool's room: what Redis lacks must not keep events from the ledger.
        most = min(settings.JOURNAL_BACKLOG_MAX_BYTES, settings.JOURNAL_MAX_BYTES // 2)
        self._state.unshipped += self._shipper.clear(most)

    def _is_time_to_tidy(self) -> bool:
        now = time.monotonic()
        if now < self._tidy_at:
            return False
        self._tidy_at = now + TEND_EVERY_S
        return True
