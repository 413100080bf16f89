"""Writes of one turn of the event loop, made together at its end.

Each write to a socket wakes whoever reads it, and between processes on one machine that waking costs more than the
write. Made one after the other, the writes of a turn find their readers awake: a quarter more requests a second on one
core (docs/benchmarks.md), for less than the length of a turn in delay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from usage.loops import LOOPS


def nothing() -> None:
    """There is nothing to do."""


class CoalescedWrites:
    """One for each event loop. What is said of one transport happens in the order in which it was said."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: list[tuple[asyncio.Transport, bytes | None]] = []
        self._failures = LOOPS.named("writes")
        self.before: Callable[[], None] = nothing
        """What has to be done before the writes of a turn."""

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append((transport, data))

    def close(self, transport: asyncio.Transport) -> None:
        """Close it after what was written before."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append((transport, None))

    def _flush(self) -> None:
        pending, self._pending = self._pending, []  # first: whatever fails, the next turn's are written
        try:
            self.before()
        except Exception as error:
            self._failures.failed_alone(error)
        for transport, data in pending:
            try:
                if data is None:
                    transport.close()
                elif not transport.is_closing():
                    transport.write(data)
            except Exception as error:
                self._failures.failed_alone(error)


_writes_of_loops: dict[asyncio.AbstractEventLoop, CoalescedWrites] = {}


def coalesced_writes_of(loop: asyncio.AbstractEventLoop) -> CoalescedWrites:
    writes = _writes_of_loops.get(loop)
    if writes is None:
        _writes_of_loops.clear()  # a process serves from one loop at a time; tests make new ones
        writes = _writes_of_loops[loop] = CoalescedWrites(loop)
    return writes
