"""Ship events from this host's spool to the stream in Redis, at least once.

A segment stays until the ledger has its events: the ledger's group has passed their entries, or they were written from
the segment itself. So events that the ledger lacks are shipped again, whatever happens to Redis. Events that were
shipped to a Redis that was emptied, restarted or replaced since then count as not shipped (`Stream.ship` finds out).
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from usage.journal.record import BROKEN_SEAL, is_sealed
from usage.journal.segments import Lines, count_lines, is_being_written, last_line_end, read_lines, segments, torn_end
from usage.journal.stream import Stream, TendResult, id_before
from usage.replace import read_file, replace_file

log = logging.getLogger("sluice.journal")

SHIPPED = "shipped.json"
AT_ONCE_BYTES = 512 * 1024
"""Bytes in one call of Redis: a thousand events. Redis does nothing else meanwhile, for some milliseconds."""

FIRST_ID = "0-0"

Quarantine = Callable[[bytes, str, str], None]


class ShippedFile(msgspec.Struct):
    """How far each segment was shipped, and the id of its last entry. Kept in a file for the next process."""

    epoch: str = ""
    at: dict[str, int] = {}
    last: dict[str, str] = {}


class Mark(NamedTuple):
    """A segment's lines up to the offset `end` are in the stream, in entries up to the id `entry`."""

    end: int
    entry: str


class Shipper:
    """Ships one spool. `booked` has the bytes of each segment that are in the ledger.

    `heed` advances it here, and `StreamConsumer` when it writes from the spool.
    """

    def __init__(
        self, spool: Path, stream: Stream, booked: dict[str, int], most_entries: int, quarantine: Quarantine
    ) -> None:
        """Raises `OSError`."""
        self._spool = spool
        self._stream = stream
        self._booked = booked
        self._most_entries = most_entries
        self._quarantine = quarantine
        self._is_full = False
        self._file = read_file(spool / SHIPPED, ShippedFile)
        self._marks: defaultdict[str, deque[Mark]] = defaultdict(deque)
        for name, at in self._file.at.items():
            self._marks[name].append(Mark(at, self._file.last.get(name, FIRST_ID)))

    def ship(self) -> None:
        """Send all new lines. Raises `OSError` and `redis.RedisError`."""
        before = dict(self._file.at)
        try:
            for segment in segments(self._spool):
                while (piece := self._next(segment)).lines:
                    if not self._send(segment.name, piece):
                        return
        finally:
            if self._file.at != before:
                replace_file(self._spool / SHIPPED, self._file)

    def _next(self, segment: Path) -> Lines:
        return read_lines(segment, self._at(segment.name), AT_ONCE_BYTES)

    def _at(self, name: str) -> int:
        return self._file.at.get(name, 0)

    def _send(self, name: str, piece: Lines) -> bool:
        """Send lines of a segment. Return False if the stream is full."""
        good = [line for line in piece.lines if is_sealed(line)]
        entry = self._file.last.get(name, FIRST_ID)
        if good:
            reply = self._stream.ship(good, self._file.epoch, self._most_entries)
            if reply.id is None:
                self._begin_anew(reply.epoch)
                return True
            if self._is_full != (reply.id == ""):
                self._is_full = not self._is_full
                log.warning(
                    "The stream has reached JOURNAL_STREAM_MAX_EVENTS; events wait in the spool."
                    if self._is_full
                    else "The stream has room again."
                )
            if self._is_full:
                return False
            entry = reply.id
        if len(good) < len(piece.lines):
            for line in piece.lines:
                if not is_sealed(line):
                    self._quarantine(line, name, BROKEN_SEAL)
        self._file.at[name], self._file.last[name] = piece.end, entry
        self._marks[name].append(Mark(piece.end, entry))
        return True

    def _begin_anew(self, epoch: str) -> None:
        if self._file.epoch:
            log.warning("Redis is not the one that it was; what the ledger has not confirmed is sent again.")
        # `booked` can be ahead: what the ledger took from the spool was never shipped, and other groups need it.
        at = {name: min(at, self._booked.get(name, 0)) for name, at in self._file.at.items()}
        self._file = ShippedFile(epoch, at)
        self._marks.clear()

    def heed(self, tended: TendResult, ledger: str) -> None:
        """Mark as booked what the ledger's group is done with, because that is in the ledger."""
        group = tended.groups.get(ledger)
        if group is None or tended.epoch != self._file.epoch:
            return
        for name, marks in self._marks.items():
            while marks and id_before(marks[0].entry, group.needs):
                self._booked[name] = max(self._booked.get(name, 0), marks.popleft().end)

    def clear(self, most_bytes: int) -> int:
        """Remove segments that are shipped and in the ledger.

        If more than `most_bytes` are in the ledger and not shipped, their oldest segments are removed as well. Returns
        how many events were therefore never shipped. Raises `OSError`.
        """
        unshipped = 0
        closed = [(segment, last_line_end(segment)) for segment in segments(self._spool) if self._is_booked(segment)]
        waiting = {segment: end - self._at(segment.name) for segment, end in closed}
        excess = sum(waiting.values()) - most_bytes
        for segment, end in closed:
            if waiting[segment] > 0:
                if excess <= 0:
                    continue
                unshipped += count_lines(segment, self._at(segment.name))
                excess -= waiting[segment]
            if torn := torn_end(segment, end):
                self._quarantine(torn, segment.name, "its writer did not finish it")
            segment.unlink()
            for positions in (self._file.at, self._file.last, self._booked, self._marks):
                positions.pop(segment.name, None)
        if unshipped:
            log.error("%d events were written to the ledger and never sent to Redis, which is away.", unshipped)
        return unshipped

    def _is_booked(self, segment: Path) -> bool:
        """Whether the segment's writer is gone and all its events are in the ledger."""
        if is_being_written(segment):
            return False
        return last_line_end(segment) <= self._booked.get(segment.name, 0)
