"""A thread that ships this host's spool to Redis, trims the stream, and notices if Redis is away.

It is separate from the thread that writes rows, so that events leave this host even while the database hangs.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

import redis
from django.conf import settings

from usage.journal.consumer import EVERY_S, TEND_EVERY_S, GroupState, State
from usage.journal.shipper import Quarantine, Shipper
from usage.journal.stream import Stream, TendResult, connect
from usage.journal.subscribers import LEDGER
from usage.loops import LOOPS

log = logging.getLogger("sluice.ledger")

PROBE_EVERY_S = 0.5
PROBE_TIMEOUT_S = 0.25

Lock = AbstractContextManager[bool]


class Shipping:
    """`state` is shared with the thread that writes the ledger. `lock` guards the positions of segments in it."""

    def __init__(self, spool: Path, url: str, state: State, lock: Lock, quarantine: Quarantine) -> None:
        self.stream = Stream(connect(url))
        self._probe = connect(url, PROBE_TIMEOUT_S)
        self._state = state
        self._lock = lock
        self._most_events = settings.JOURNAL_STREAM_MAX_EVENTS
        # At most half of the spool's room: if segments that wait for Redis filled it, new events would be dropped.
        self._most_unshipped = min(settings.JOURNAL_BACKLOG_MAX_BYTES, settings.JOURNAL_MAX_BYTES // 2)
        self._shipper = Shipper(spool, self.stream, state.read, self._most_events, quarantine)
        self._probe_at = self._tidy_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-shipping", daemon=True)

    @property
    def is_redis_there(self) -> bool:
        return not self._state.redis_failing

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; afterwards the caller may call `step` itself. May be called more than once."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        def step() -> None:
            if not self._stopping.wait(EVERY_S):
                self.step()

        LOOPS.named("journal-shipping").run_until(self._stopping, step)

    def step(self, *, is_last: bool = False) -> None:
        """Ship new events. Once in `TEND_EVERY_S`, trim the stream and remove segments as well."""
        is_time_to_tidy = is_last or time.monotonic() >= self._tidy_at
        if is_time_to_tidy:
            self._tidy_at = time.monotonic() + TEND_EVERY_S
        try:
            try:
                if self.is_redis_there or self._is_back():
                    self._shipper.ship()
                    if is_time_to_tidy:
                        self._heed(self.stream.tend(LEDGER, self._most_events))
            except redis.RedisError as error:
                self.went_away(error)
            if is_time_to_tidy:
                with self._lock:
                    self._state.unshipped += self._shipper.clear(self._most_unshipped)
            self._state.shipping_failing = ""
        except OSError as error:
            if not self._state.shipping_failing:
                log.error("The spool cannot be shipped: %s.", error)
            self._state.shipping_failing = type(error).__name__

    def went_away(self, error: redis.RedisError) -> None:
        """Note that Redis failed. May be called from any thread."""
        if self.is_redis_there:
            log.warning("Redis takes no events (%s); the ledger is written from the spool.", type(error).__name__)
        self._state.redis_failing = type(error).__name__

    def _is_back(self) -> bool:
        """Ask Redis from time to time whether it is back. Raises `redis.RedisError` while it is away."""
        if time.monotonic() < self._probe_at:
            return False
        self._probe_at = time.monotonic() + PROBE_EVERY_S
        self._probe.ping()
        log.warning("Redis takes events again.")
        self._state.redis_failing = ""
        return True

    def _heed(self, tended: TendResult) -> None:
        entry_bytes = self.stream.entry_bytes()
        self._state.groups = {
            group.name: GroupState(group.waiting, round(group.waiting * entry_bytes), group.dropped, group.quarantined)
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
        with self._lock:
            self._shipper.heed(tended, LEDGER)
