"""For tests of the journal: events, spools, and what consumers have read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from usage.event import RequestEvent
from usage.journal.record import encode, sealed
from usage.journal.source import PendingEvent, Source
from usage.journal.spool import Spool

PATH = "/v1/x" * 30


def event(number: int) -> RequestEvent:
    return RequestEvent(f"req_{number:06}", 1_790_000_000.0 + number, "POST", PATH, 200, "complete", 1000.0)


def line(number: int) -> bytes:
    return sealed(encode(event(number)))


@contextmanager
def writing(directory: Path, segment_bytes: int = 2_000) -> Iterator[Spool]:
    """A spool. Its event loop does not run, so `add` flushes it."""
    loop = asyncio.new_event_loop()

    async def make() -> Spool:
        return Spool(directory, segment_bytes=segment_bytes, most_bytes=10**9, dropped=lambda events: None)

    spool = loop.run_until_complete(make())
    try:
        yield spool
    finally:
        spool.close()
        loop.close()


def add(spool: Spool, numbers: range, make: Callable[[int], RequestEvent] = event) -> None:
    for number in numbers:
        spool.add(make(number))
        spool.flush()


def all_of(source: Source, most: int = 7) -> list[PendingEvent]:
    """Read all events of the source, and call `done` for each batch."""
    found: list[PendingEvent] = []
    while taken := source.read(most):
        source.done(taken)
        found += taken
    return found


def ids(taken: list[PendingEvent]) -> list[str]:
    return [one.event.id for one in taken]


def expected(*numbers: int) -> list[str]:
    return [event(number).id for number in numbers]
