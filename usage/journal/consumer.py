"""Write the journal's events into the ledger in batches, each event once, even if processes die in between.

The position in a segment is written in the transaction of its rows, so a crash neither repeats nor skips events. If
several consumers are started on one directory, the one that holds the lock works, and the others wait for the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from django.conf import settings
from django.db import connection

from usage.audit.refusals import audit_refusals
from usage.event import RequestEvent
from usage.journal.book import AWAY, Done, book, reason_of
from usage.journal.damaged_lines import quarantine
from usage.journal.record import Damaged, encode, read
from usage.journal.segments import is_being_written, read_lines, segments, torn_end
from usage.journal.subscribers import bound_backlogs
from usage.ledger.write import Position, forget_position, read_position
from usage.replace import read_file, replace_file

log = logging.getLogger("sluice.ledger")

EVERY_S = 0.1
TEND_EVERY_S = 1.0
BATCH = 2_000
LAST_TRIES = 5
LONGEST_PAUSE_S = 2.0
"""The longest pause between two tries while the database takes no rows."""

LOCK = "consumer.lock"
STATE = "state.json"


class GroupState(msgspec.Struct):
    """What Redis reports about one consumer of the stream. The ledger is one of them."""

    waiting: int = 0
    bytes: int = 0
    dropped: int = 0
    quarantined: int = msgspec.field(default=0, name="set_aside")


class State(msgspec.Struct):
    """The state of the consumer, kept in a file from which metrics and health checks are made."""

    rows: int = 0
    damaged: int = 0
    read: dict[str, int] = {}
    """Bytes of each segment that are in the ledger."""
    failing: str = ""
    redis_failing: str = ""
    shipping_failing: str = ""
    unshipped: int = 0
    """Events that are in the ledger and never went to Redis, because it was away for too long."""
    groups: dict[str, GroupState] = {}


class Consumer:
    """Reads one directory. `run` needs a thread or a process of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._state = State()
        self._lock = threading.RLock()
        """Guards the state, which a second thread changes as well in a `StreamConsumer`."""
        self._written_state = b""
        self._tend_at = 0.0
        self._pause_s = self._try_at = 0.0

    def run(self, stopping: threading.Event) -> None:
        """Write events until `stopping` is set. Then write what is left, if the database takes it."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._alone(stopping) as is_alone:
            if not is_alone:
                return
            self._state = read_file(self._directory / STATE, State)
            self._begin()
            try:
                while not stopping.wait(EVERY_S):
                    self.drain()
                for attempt in range(LAST_TRIES):
                    if self.drain(is_last=True):
                        break
                    time.sleep(0.2 * (attempt + 1))
            finally:
                self._end()
                connection.close()

    @contextlib.contextmanager
    def _alone(self, stopping: threading.Event) -> Iterator[bool]:
        fd = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if stopping.wait(EVERY_S):
                        yield False
                        return
                else:
                    break
            yield True
        finally:
            os.close(fd)

    def drain(self, *, is_last: bool = False) -> bool:
        """Write all events that are there. Return False if the database did not take all; the next call goes on."""
        was_failing = self._state.failing
        if was_failing and not is_last and time.monotonic() < self._try_at:
            return False
        try:
            self._work(is_last)
            audit_refusals(())  # writes the summary of a past second's refusals even if no new ones come
            if time.monotonic() >= self._tend_at:
                bound_backlogs(self._directory, settings.JOURNAL_BACKLOG_MAX_BYTES)
                self._tend_at = time.monotonic() + TEND_EVERY_S
            self._state.failing, self._pause_s = "", 0.0
        except (*AWAY, OSError) as error:  # the database, or the disk
            connection.close()
            self._state.failing = reason_of(error)
            if self._state.failing != was_failing:
                log.warning("The ledger takes no rows (%s); they wait in the journal.", self._state.failing)
            self._pause_s = min(self._pause_s * 2 or EVERY_S, LONGEST_PAUSE_S)
            self._try_at = time.monotonic() + self._pause_s
        if was_failing and not self._state.failing:
            log.warning("The ledger takes rows again.")
        self._tell()
        return not self._state.failing

    def _begin(self) -> None:
        """Forget positions from the file, so that they are read from the ledger.

        The last holder of the lock may have written rows after it wrote the file.
        """
        self._state.read.clear()

    def _work(self, is_last: bool) -> None:
        """Write all events that are there. Raises the errors in `AWAY`, and `OSError`."""
        for segment in segments(self._directory):
            self._read(segment)

    def _end(self) -> None:
        """Release what `_begin` acquired: here nothing."""

    def _read(self, segment: Path) -> None:
        name = segment.name
        at = self._state.read.get(name)
        if at is None:
            at = read_position(name)
        is_open = is_being_written(segment)  # asked before reading, so that the writer's last lines are read below
        while True:
            lines, end = read_lines(segment, at)
            if not lines:
                break
            self._write(name, at, lines)
            at = end
        self._state.read[name] = at
        if not is_open:
            if torn := torn_end(segment, at):
                self._quarantine(torn, name, "its writer did not finish it")
            segment.unlink()
            forget_position(name)
            del self._state.read[name]

    def _write(self, name: str, at: int, lines: Sequence[bytes]) -> None:
        """Write the events of these lines. `at` is the offset of the first line in its segment."""
        events: list[RequestEvent] = []
        starts: list[int] = []
        for line in lines:
            try:
                events.append(read(line))
                starts.append(at)
            except Damaged as error:
                self._quarantine(line, name, str(error))
            at += len(line) + 1
        starts.append(at)
        for first in range(0, len(events), BATCH):
            batch = events[first : first + BATCH]
            ends = [Position(name, end) for end in starts[first + 1 : first + len(batch) + 1]]

            def done(count: int, ends: Sequence[Position] = ends) -> None:
                self._state.read[name] = ends[count - 1].end

            self._book(batch, name, done, ends)

    def _book(self, events: Sequence[RequestEvent], name: str, done: Done, positions: Sequence[Position] = ()) -> None:
        def refused(event: RequestEvent, why: str) -> None:
            self._quarantine(encode(event), name, why)

        book(events, positions, refused, done)
        self._state.rows += len(events)

    def _quarantine(self, line: bytes, name: str, why: str) -> None:
        with self._lock:
            self._state.damaged += 1
            quarantine(self._directory, line, name, why)

    def _tell(self) -> None:
        with self._lock:
            document = msgspec.json.encode(self._state)
        if document == self._written_state:
            return
        try:
            replace_file(self._directory / STATE, self._state)
            self._written_state = document
        except OSError as error:
            log.warning("How far the ledger is cannot be told: %s", error.strerror)
