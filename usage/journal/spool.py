"""The writer of the journal in a process. It appends to its own segments and never reads them.

A segment is locked while its writer has it open, so its readers can tell an idle writer from one that is gone. The
events of one turn of the event loop are one write, made before the answers of that turn leave
(`CoalescedWrites.before`). The write goes to the kernel: it outlives the process, but not a power failure.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from usage.event import RequestEvent
from usage.journal.record import encode, sealed
from usage.journal.segments import SUFFIX
from usage.journal.subscribers import hand_out
from usage.loops import LOOPS

log = logging.getLogger("sluice.journal")

MOST_UNWRITTEN_BYTES = 64 * 1024 * 1024
"""The most that is kept in memory while the disk accepts nothing. Beyond it, events are dropped and counted."""

LOOK_AGAIN_S = 1.0


class Spool:
    """One for each process. All methods run on the event loop's thread."""

    def __init__(self, directory: Path, *, segment_bytes: int, most_bytes: int, dropped: Callable[[int], None]) -> None:
        """`dropped` is called with the number of events that are lost. Raises `OSError`."""
        self._directory = directory
        self._segment_bytes = min(segment_bytes, most_bytes // 8)  # `most_bytes` is checked when a segment is full
        self._most_bytes = most_bytes
        self._dropped = dropped
        self._loop = asyncio.get_running_loop()
        self._pending: list[bytes] = []
        self._unwritten = b""
        """What the disk has not accepted yet. It may begin in the middle of a line."""
        self._fd = -1
        self._begun_ms = 0
        self._written = 0
        self._full = False
        self._retry: asyncio.TimerHandle | None = None
        self._failures = LOOPS.named("journal")
        directory.mkdir(parents=True, exist_ok=True)
        self._open()

    @property
    def is_full(self) -> bool:
        """Whether events are dropped, because the journal has reached `most_bytes`."""
        return self._full

    @property
    def is_holding(self) -> bool:
        """Whether events wait in memory, because the disk accepts nothing."""
        return bool(self._unwritten)

    def add(self, event: RequestEvent) -> bytes:
        """Take an event. It is written by the next `flush`, which is scheduled for the event loop's next iteration.

        Returns the event as JSON, so that callers need not encode it again.
        """
        document = encode(event)
        if not self._pending:
            self._loop.call_soon(self.flush)
        self._pending.append(document)
        return document

    def flush(self) -> None:
        """Write the events that were added since the last flush."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        if self._full or len(self._unwritten) > MOST_UNWRITTEN_BYTES:
            self._dropped(len(pending))
            return
        self._write(b"".join([sealed(document) for document in pending]))

    def close(self) -> None:
        """Write what is left, and release the segment to its readers."""
        if self._retry is not None:
            self._retry.cancel()
        self.flush()
        if self._unwritten:
            self._write(b"")
        if self._unwritten:
            lost = self._unwritten.count(b"\n")
            self._dropped(lost)
            log.error("Stopped with %d events that the disk did not take.", lost)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, data: bytes) -> None:
        if self._unwritten:
            data, self._unwritten = self._unwritten + data, b""
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:] if done else data)
            self._written += done
            if self._written > self._segment_bytes:
                self._rotate()
        except OSError as error:
            self._unwritten = data[done:]
            if self._retry is None:
                log.error("The journal takes no events (%s); they wait in memory.", error.strerror)
                self._retry = self._loop.call_later(LOOK_AGAIN_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        try:
            if self._full:
                self._look_for_room()
            elif self._unwritten:
                self._write(b"")
                if not self._unwritten:
                    log.warning("The journal takes events again.")
        except Exception as error:
            self._failures.failed_alone(error)
            if self._retry is None:  # else events would be dropped, or wait, forever
                self._retry = self._loop.call_later(LOOK_AGAIN_S, self._try_again)

    def _rotate(self) -> None:
        full = self._fd
        self._open()  # before closing the old one, which is used on if this fails
        os.close(full)
        self._look_for_room()

    def _open(self) -> None:
        # The file is locked before it gets its name, so that no reader takes its writer for gone. Each name is greater
        # than the one before, even if the clock was set back, because segments are read in the order of their names.
        self._begun_ms = max(int(time.time() * 1000), self._begun_ms + 1)
        name = f"{self._begun_ms:013x}-{secrets.token_hex(4)}"
        new = self._directory / f"{name}.new"
        fd = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            segment = self._directory / f"{name}{SUFFIX}"
            new.rename(segment)
            hand_out(segment)
        except OSError:
            os.close(fd)
            raise
        self._fd, self._written = fd, 0

    def _look_for_room(self) -> None:
        was_full = self._full
        self._full = sum(map(size_of, self._directory.glob(f"*{SUFFIX}"))) > self._most_bytes
        if self._full:
            if not was_full:
                log.error("The journal has reached JOURNAL_MAX_BYTES; events are dropped until the ledger takes some.")
            self._retry = self._loop.call_later(LOOK_AGAIN_S, self._try_again)
        elif was_full:
            log.warning("The journal has room again.")


def size_of(segment: Path) -> int:
    try:
        return segment.stat().st_size
    except FileNotFoundError:
        return 0  # its reader has just finished and removed it
