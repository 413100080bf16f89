"""Files by which workers add up their numbers, including those of a killed worker, in a directory that they share.

Each worker has two files. `NAME.numbers` contains its sums, and is replaced as a whole several times a second.
`NAME.ring` contains every event since then; an event is written before its answer ends. So the sums and the rest of the
ring are exactly what the worker has answered, whenever it dies. Its lock on the ring shows that it lives.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from usage.event import RequestEvent
from usage.telemetry.counting.numbers import Numbers

RING_BYTES = 4 * 1024 * 1024
"""Room for some thousands of events. The sums are published up to ten times a second."""

HEAD = struct.Struct("@Qq")
"""The header of a ring's file: how many bytes were ever written to the ring, and how many requests are active."""
ACTIVE = struct.Struct("@q")
LENGTH = struct.Struct("@I")
WRAPPED = LENGTH.pack(0)


class Sums(msgspec.Struct):
    """Published sums. They include the events of the ring up to the byte `counted`."""

    counted: int
    numbers: Numbers


_encoder = msgspec.msgpack.Encoder()
_sums = msgspec.msgpack.Decoder(Sums)
_event = msgspec.json.Decoder(RequestEvent)


class Worker:
    """The two files of this process."""

    def __init__(self, directory: Path) -> None:
        """Raises `OSError`."""
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.ring = directory / f"{name}.ring"
        self._numbers = self.ring.with_suffix(".numbers")
        # The file is locked before it gets its name, so that no reader takes its worker for dead.
        new = self.ring.with_suffix(".new")
        self._fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.ftruncate(self._fd, HEAD.size + RING_BYTES)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._map = mmap.mmap(self._fd, HEAD.size + RING_BYTES)
        new.rename(self.ring)
        self._written = self._counted = 0

    def append(self, document: bytes, active: int) -> int:
        """Write an event, as JSON, and the number of active requests into the ring. Return the ring's new end.

        If there is no room the event is left out: the sums are minutes behind then.
        """
        size = LENGTH.size + len(document)
        at = self._written % RING_BYTES
        gap = RING_BYTES - at if size > RING_BYTES - at else 0
        if self._written + gap + size - self._counted > RING_BYTES:
            return self._written
        if gap >= LENGTH.size:
            self._map[HEAD.size + at : HEAD.size + at + LENGTH.size] = WRAPPED
        at = HEAD.size + (0 if gap else at)
        self._map[at : at + size] = LENGTH.pack(len(document)) + document
        self._written += gap + size
        self._map[: HEAD.size] = HEAD.pack(self._written, active)  # in one write: `pack_into` would write zeros first
        return self._written

    def publish(self, counted: int, numbers: Numbers, active: Callable[[], int]) -> None:
        """Write the sums, which include the ring up to `counted`, and the number of active requests.

        Raises `OSError`.
        """
        new = self._numbers.with_suffix(".new")
        new.write_bytes(_encoder.encode(Sums(counted, numbers)))
        new.replace(self._numbers)
        self._counted = counted
        count = None
        while count != (count := active()):  # the event loop's thread may have written another number meanwhile
            self._map[HEAD.size - ACTIVE.size : HEAD.size] = ACTIVE.pack(count)


class WorkerCounts(NamedTuple):
    """A worker's sums, and the events that are not in them yet."""

    numbers: Numbers
    uncounted: list[RequestEvent]
    alive: bool


def others(directory: Path, own: Path) -> Iterator[WorkerCounts]:
    """Yield the counts of all other workers, including dead ones. Raises `OSError`."""
    for ring in sorted(directory.glob("*.ring")):
        if ring == own:
            continue
        alive = is_locked(ring)  # asked before reading, so that what it writes before it dies is read below
        numbers, uncounted = read_ring(ring)
        yield WorkerCounts(numbers, uncounted, alive)


def read_ring(ring: Path) -> tuple[Numbers, list[RequestEvent]]:
    """Return a worker's sums, and the events after them. Raises `OSError`."""
    while True:
        try:
            sums = _sums.decode(ring.with_suffix(".numbers").read_bytes())
        except FileNotFoundError:
            sums = Sums(0, Numbers())
        written = ring.read_bytes()
        sums.numbers.active = HEAD.unpack_from(written)[1]
        if bytes_ever_written(ring) - sums.counted <= RING_BYTES:
            return sums.numbers, list(events(written, sums.counted))
        # It has published new sums meanwhile, and overwritten events that the old ones lack: read both again.


def bytes_ever_written(ring: Path) -> int:
    with ring.open("rb") as file:
        return int(HEAD.unpack(file.read(HEAD.size))[0])


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def events(ring: bytes, since: int) -> Iterator[RequestEvent]:
    """Yield the events of a ring from this byte on."""
    written, _ = HEAD.unpack_from(ring)
    while since < written:
        at = since % RING_BYTES
        left = RING_BYTES - at
        length = LENGTH.unpack_from(ring, HEAD.size + at)[0] if left >= LENGTH.size else 0
        if not length:
            since += left
            continue
        start = HEAD.size + at + LENGTH.size
        yield _event.decode(ring[start : start + length])
        since += LENGTH.size + length
