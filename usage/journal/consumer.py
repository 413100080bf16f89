"""From the journal into the ledger: each event once, in batches, whatever dies in between.

Where a segment was read up to is written in the same transaction as the rows, so a crash repeats nothing and skips
nothing. Of several consumers on one directory one works, the one that has the lock; the others wait for it.
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
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from usage.audit.refusals import audit_refusals
from usage.event import RequestEvent
from usage.journal.record import Damaged, encode, read
from usage.journal.segments import is_being_written, read_lines, segments, torn_end
from usage.ledger import Position, forget_position, read_position, write_events

log = logging.getLogger("sluice.ledger")

EVERY_S = 0.1
BATCH = 2_000
AWAY = (OperationalError, InterfaceError)
"""The database is not there or not able; what else it raises is about the row."""

LAST_TRIES = 5
LOCK = "consumer.lock"
DAMAGED = "damaged.log"
STATE = "state.json"


class State(msgspec.Struct):
    """What the consumer tells of itself, in a file that the server's metrics are read from."""

    rows: int = 0
    damaged: int = 0
    read: dict[str, int] = {}
    """Bytes of each segment that are in the ledger."""
    failing: str = ""
    caught_up_at: float = 0.0


class Consumer:
    """Reads one directory. `run` belongs into a thread or a process of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._state = State()

    def run(self, stopping: threading.Event) -> None:
        """Until told to stop; then what is there is still written, if the database takes it."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._alone(stopping) as is_alone:
            if not is_alone:
                return
            self._state.read.clear()  # whoever had the lock before has gone on since
            while not stopping.wait(EVERY_S):
                self.drain()
            for attempt in range(LAST_TRIES):
                if self.drain():
                    break
                time.sleep(0.2 * (attempt + 1))
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

    def drain(self) -> bool:
        """Write what is there. False when the database did not take all of it; it is there the next time."""
        before = self._state.rows, self._state.failing
        try:
            for segment in segments(self._directory):
                self._read(segment)
            audit_refusals(())  # what it counted but did not list is told when a second is over
            self._state.failing = ""
            self._state.caught_up_at = time.time()
        except (*AWAY, OSError) as error:  # the database, or the disk
            connection.close()
            if not self._state.failing:
                log.warning("The ledger takes no rows (%s); they wait in the journal.", type(error).__name__)
            self._state.failing = type(error).__name__
        if before[1] and not self._state.failing:
            log.warning("The ledger takes rows again.")
        if before != (self._state.rows, self._state.failing):
            self._tell()
        return not self._state.failing

    def _read(self, segment: Path) -> None:
        name = segment.name
        at = self._state.read.get(name)
        if at is None:
            at = read_position(name)
        is_open = is_being_written(segment)  # asked first: what it writes before it closes is read below
        while True:
            lines, end = read_lines(segment, at)
            if not lines:
                break
            self._write(name, at, lines)
            at = end
        self._state.read[name] = at
        if not is_open:
            if torn := torn_end(segment, at):
                self._set_aside(torn, name, "its writer did not finish it")
            segment.unlink()
            forget_position(name)
            del self._state.read[name]

    def _write(self, name: str, at: int, lines: Sequence[bytes]) -> None:
        """Write the events of these lines, which begin at an offset of their segment."""
        events: list[RequestEvent] = []
        starts: list[int] = []
        for line in lines:
            try:
                events.append(read(line))
                starts.append(at)
            except Damaged as error:
                self._set_aside(line, name, str(error))
            at += len(line) + 1
        starts.append(at)
        for first in range(0, len(events), BATCH):
            batch = events[first : first + BATCH]
            end = starts[first + len(batch)]
            try:
                write_events(batch, Position(name, end))
            except AWAY:
                raise
            except DatabaseError:
                connection.close()
                self._write_singly(name, batch, starts[first : first + len(batch) + 1])
            self._state.rows += len(batch)
            self._state.read[name] = end
            audit_refusals(batch)

    def _write_singly(self, name: str, batch: Sequence[RequestEvent], starts: Sequence[int]) -> None:
        """A batch with a row that the database refuses: that one is set aside, the others are written."""
        for event, end in zip(batch, starts[1:], strict=True):
            try:
                write_events([event], Position(name, end))
            except AWAY:
                raise
            except DatabaseError as error:
                connection.close()
                self._set_aside(encode(event), name, f"the ledger refused it ({type(error).__name__})")
            self._state.read[name] = end

    def _set_aside(self, line: bytes, name: str, why: str) -> None:
        """Keep what cannot be written where an operator finds it."""
        self._state.damaged += 1
        log.error("A line of journal segment %s is set aside in %s: %s.", name, DAMAGED, why)
        with (self._directory / DAMAGED).open("ab") as file:
            file.write(b"%s: %s: %s\n" % (name.encode(), why.encode(), line))

    def _tell(self) -> None:
        new = self._directory / f"{STATE}.new"
        try:
            new.write_bytes(msgspec.json.encode(self._state))
            new.replace(self._directory / STATE)
        except OSError as error:
            log.warning("How far the ledger is cannot be told: %s", error.strerror)
