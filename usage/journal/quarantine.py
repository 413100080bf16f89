"""List events that the ledger could not use, and put them back once the database or a newer version accepts them.

They are in `damaged.log` of this host's journal. Entries of the stream that are damaged, or that no ledger process
survived writing, are in Redis. Putting back writes straight into the ledger, which knows each event by its id. So it
may be repeated, and dispatchers do not get the events again.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from django.conf import settings

from usage.event import RequestEvent
from usage.journal.book import book
from usage.journal.consumer import BATCH
from usage.journal.damaged_lines import DAMAGED, locked
from usage.journal.record import Damaged, event_of, read
from usage.journal.stream import Stream, connect
from usage.journal.subscribers import LEDGER

_LINE = re.compile(rb'(\S+): (.*?): (\{"id":.*\}|[0-9a-f]{8} \{"id":.*\})', re.DOTALL)


class Quarantined(NamedTuple):
    """A line in quarantine. `event` is None if it cannot be read: it was edited, or its writer did not finish it."""

    place: str
    why: str
    event: RequestEvent | None
    key: bytes
    """The line in the file, or the entry's id in Redis: finds it there again."""


class PutBack(NamedTuple):
    """Numbers of lines. `written`: in the ledger now. `refused`: still refused by it. `damaged`: not events."""

    written: int
    refused: int
    damaged: int


def in_file(directory: Path) -> Iterator[Quarantined]:
    """Yield the lines that are kept in the file. Raises `OSError`."""
    try:
        lines = (directory / DAMAGED).read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in filter(None, lines):
        match = _LINE.fullmatch(line)
        if match is None:
            segment, _, why = line.decode(errors="replace").partition(": ")
            yield Quarantined(segment, why, None, line)
        else:
            yield Quarantined(match[1].decode(), match[2].decode(errors="replace"), understood(match[3]), line)


def in_redis(stream: Stream) -> Iterator[Quarantined]:
    """Yield the ledger's lines that are kept in Redis. Raises `redis.RedisError`."""
    for entry, why, line in stream.quarantined(LEDGER):
        yield Quarantined("redis", why, understood(line), entry.encode())


def understood(line: bytes) -> RequestEvent | None:
    try:
        return event_of(line) if line.startswith(b"{") else read(line)
    except Damaged:
        return None


def quarantined(directory: Path) -> list[Quarantined]:
    """Return all lines in quarantine, of this host and of Redis. Raises `OSError` and `redis.RedisError`."""
    entries = list(in_file(directory))
    if settings.REDIS_URL:
        entries += in_redis(Stream(connect(settings.REDIS_URL)))
    return entries


def put_back(directory: Path) -> PutBack:
    """Write all events that the ledger takes, and remove them from quarantine.

    Raises `OSError`, `DatabaseError` and `redis.RedisError`. What was not removed by then can be put back again.
    """
    done = _write(list(in_file(directory)), lambda lines: _forget_lines(directory, lines))
    if settings.REDIS_URL:
        stream = Stream(connect(settings.REDIS_URL))
        of_redis = _write(list(in_redis(stream)), lambda ids: stream.forget_quarantined([one.decode() for one in ids]))
        done = PutBack(*map(sum, zip(done, of_redis, strict=True)))
    return done


def _write(kept: Sequence[Quarantined], forget: Callable[[Sequence[bytes]], None]) -> PutBack:
    usable = [one for one in kept if one.event is not None]
    refused: set[str] = set()
    for first in range(0, len(usable), BATCH):
        part = usable[first : first + BATCH]
        events = [msgspec.structs.replace(one.event) for one in part if one.event is not None]
        book(events, (), lambda event, why: refused.add(event.id), lambda count: None)
        forget([one.key for one in part if one.event is not None and one.event.id not in refused])
    left = sum(one.event is not None and one.event.id in refused for one in usable)
    return PutBack(len(usable) - left, left, len(kept) - len(usable))


def _forget_lines(directory: Path, lines: Sequence[bytes]) -> None:
    """Remove these lines. Lines that were added meanwhile stay."""
    file, gone = directory / DAMAGED, Counter(lines)
    with locked(directory):
        new = file.with_suffix(".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as left:
            for line in file.read_bytes().split(b"\n"):
                if gone[line]:
                    gone[line] -= 1
                elif line:
                    left.write(line + b"\n")
            left.flush()
            os.fsync(left.fileno())
        new.replace(file)
