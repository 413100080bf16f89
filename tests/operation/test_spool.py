"""The journal's bound, and a segment that cannot be followed by another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.journals import add
from usage.event import RequestEvent
from usage.journal.segments import read_lines, segments
from usage.journal.spool import Spool


def event(number: int) -> RequestEvent:
    return RequestEvent(f"req_{number}", 1.0, "POST", "/v1/x" * 30, 200, "complete", 1.0)


def spooled(directory: Path, most_bytes: int, then: Callable[[Spool], None]) -> list[int]:
    """Run something with a spool of small segments; how many events it dropped each time."""
    dropped: list[int] = []

    async def run() -> None:
        spool = Spool(directory, segment_bytes=2_000, most_bytes=most_bytes, dropped=dropped.append)
        then(spool)
        spool.close()

    asyncio.run(run())
    return dropped


def line_count(directory: Path) -> int:
    return sum(len(read_lines(segment, 0).lines) for segment in segments(directory))


def test_beyond_the_bound_events_are_dropped_and_counted(tmp_path: Path) -> None:
    dropped = spooled(tmp_path, 16_000, lambda spool: add(spool, range(200), event))
    assert dropped
    assert line_count(tmp_path) + sum(dropped) == 200
    assert sum(segment.stat().st_size for segment in segments(tmp_path)) < 16_000 + 2 * 2_000


def test_a_segment_goes_on_where_no_new_one_can_be_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Spool) -> None:
        raise OSError(28, "No space left on device")

    def go_on(spool: Spool) -> None:
        monkeypatch.setattr(Spool, "_open", refuse)
        add(spool, range(100), event)

    assert spooled(tmp_path, 10**9, go_on) == []
    assert line_count(tmp_path) == 100
