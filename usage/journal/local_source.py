"""The source of a consumer's events without Redis: the spool of this host."""

from __future__ import annotations

import fcntl
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from usage.journal.backlog import backlog_of
from usage.journal.damaged_lines import quarantine
from usage.journal.record import Damaged, read
from usage.journal.segments import is_being_written, read_lines, segments, torn_end
from usage.journal.source import Backlog, PendingEvent, Source
from usage.journal.subscribers import PROGRESS, Progress, subscribe, take_open_segments
from usage.replace import read_file, replace_file

LOCK = "lock"
LINE_BYTES = 1024
"""Most lines are shorter."""

LEAST_BYTES = 64 * 1024


class Reading:
    """The state of one segment. `at` is the offset up to which its events were returned by `read`."""

    __slots__ = ("at", "is_over", "pending")

    def __init__(self, at: int) -> None:
        self.at = at
        self.pending: dict[int, None] = {}
        """The offsets, in order, of lines that were returned and are not done."""
        self.is_over = False

    @property
    def done(self) -> int:
        return next(iter(self.pending), self.at)


class LocalSource(Source):
    """Several may be open under one name. The one that holds the lock reads, and the others get no events."""

    def __init__(self, spool: Path, name: str) -> None:
        """Register the name if it is new. It then gets the events of requests that end from now on.

        Raises `OSError` and `ValueError`.
        """
        self._spool = spool
        subscribe(spool, name)
        self._directory = spool / name
        self._lock: int | None = None
        self._progress = Progress()
        self._readings: dict[str, Reading] = {}
        self._take_over()

    def read(self, most: int) -> list[PendingEvent]:
        events: list[PendingEvent] = []
        if self._lock is None and not self._take_over():
            return events
        quarantined_before = self._progress.quarantined
        for segment in segments(self._directory):
            if len(events) >= most:
                break
            try:
                events += self._read(segment, most - len(events))
            except FileNotFoundError:  # dropped, because this consumer is too far behind
                self._forget(segment.name)
        if self._progress.quarantined != quarantined_before:
            self._save()
        return events

    def done(self, events: Sequence[PendingEvent]) -> None:
        by_segment: defaultdict[str, list[int]] = defaultdict(list)
        for one in events:
            name, _, offset = one.token.rpartition(":")
            by_segment[name].append(int(offset))
        finished = []
        for name, offsets in by_segment.items():
            reading = self._readings.get(name)
            if reading is None:
                continue  # dropped
            for start in offsets:
                reading.pending.pop(start, None)
            if reading.is_over and not reading.pending:
                finished.append(name)
        self._save()
        for name in finished:
            self._finish(name)

    def backlog(self) -> Backlog:
        if self._lock is None:  # another process reads, and writes its progress to the file
            return backlog_of(self._directory, read_file(self._directory / PROGRESS, Progress).read)
        return backlog_of(self._directory, self._progress.read)

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._readings.clear()

    def _take_over(self) -> bool:
        fd = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._lock = fd
        self._progress = read_file(self._directory / PROGRESS, Progress)
        # Some are missing only if the name is new, or if its registration was interrupted.
        self._progress.read |= take_open_segments(self._spool, self._directory)
        there = {segment.name for segment in segments(self._directory)}
        self._progress.read = {name: at for name, at in self._progress.read.items() if name in there}
        self._save()
        return True

    def _read(self, segment: Path, most: int) -> list[PendingEvent]:
        name = segment.name
        reading = self._readings.get(name)
        if reading is None:
            reading = self._readings[name] = Reading(self._progress.read.get(name, 0))
        if reading.is_over:
            return []
        is_open = is_being_written(segment)  # asked before reading, so that the writer's last lines are read below
        events: list[PendingEvent] = []
        while len(events) < most:
            lines, _ = read_lines(segment, reading.at, max(LEAST_BYTES, (most - len(events)) * LINE_BYTES))
            if not lines:
                break
            for line in lines[: most - len(events)]:
                start = reading.at
                reading.at += len(line) + 1
                try:
                    event = read(line)
                except Damaged as error:
                    self._quarantine(line, name, str(error))
                else:
                    reading.pending[start] = None
                    events.append(PendingEvent(f"{name}:{start}", event))
        else:
            return events  # there may be more
        if not is_open:
            if torn := torn_end(segment, reading.at):
                self._quarantine(torn, name, "its writer did not finish it")
                reading.at += len(torn)
            reading.is_over = True
            if not reading.pending:
                self._finish(name)
        return events

    def _finish(self, name: str) -> None:
        """Remove a segment whose events are all done."""
        (self._directory / name).unlink(missing_ok=True)
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._readings.pop(name, None)
        self._progress.read.pop(name, None)

    def _quarantine(self, line: bytes, name: str, why: str) -> None:
        quarantine(self._directory, line, name, why)
        self._progress.quarantined += 1

    def _save(self) -> None:
        self._progress.read |= {name: reading.done for name, reading in self._readings.items()}
        replace_file(self._directory / PROGRESS, self._progress, durable=True)
