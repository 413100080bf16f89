"""The ledger's consumer with a real database: a row it refuses harms no other, and nothing is lost while it is away."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from django.db import OperationalError

from keys.models import VirtualKey
from tests.kit.events import written_ids
from usage.event import RequestEvent
from usage.journal import book as book_module
from usage.journal.consumer import Consumer
from usage.journal.damaged_lines import DAMAGED
from usage.journal.record import encode, sealed
from usage.ledger.write import Position, write_events
from usage.models import JournalPosition, RequestRecord

pytestmark = pytest.mark.django_db(transaction=True)

NOW = 1_790_000_000.0
NEVER = 1e20
"""A time that no row can have."""


def event(number: int, **changes: Any) -> RequestEvent:
    fields: dict[str, Any] = {
        "id": f"req_{number}", "at": NOW, "method": "POST", "path": "/v1/chat/completions", "status": 200,
        "outcome": "complete", "duration_ms": 1.0,
    }  # fmt: skip
    return RequestEvent(**{**fields, **changes})


def line(number: int, **changes: Any) -> bytes:
    return sealed(encode(event(number, **changes)))


def consume(directory: Path, *lines: bytes, name: str = "0000000000001-a.spool") -> None:
    """Let a consumer read a segment whose writer is gone, and stop."""
    directory.joinpath(name).write_bytes(b"".join(lines))
    stopping = threading.Event()
    stopping.set()
    Consumer(directory).run(stopping)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_row_that_the_database_refuses_holds_up_no_other(bad: int, tmp_path: Path):
    consume(tmp_path, *(line(number, at=NEVER if number == bad else NOW) for number in range(3)))
    assert written_ids() == [f"req_{number}" for number in range(3) if number != bad]
    assert b"the ledger refused it" in (tmp_path / DAMAGED).read_bytes()
    assert not list(tmp_path.glob("*.spool"))


@pytest.mark.parametrize("bad", [[0], [1_999], [700, 701, 1_500]])
def test_a_refused_batch_is_halved_and_not_taken_apart(
    bad: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    writes: list[int] = []

    def counted(events: list[RequestEvent], position: Any = None) -> list[RequestEvent]:
        writes.append(len(events))
        return write_events(events, position)

    monkeypatch.setattr(book_module, "write_events", counted)
    consume(tmp_path, *(line(number, at=NEVER if number in bad else NOW) for number in range(2_000)))
    assert len(written_ids()) == 2_000 - len(bad)
    assert (tmp_path / DAMAGED).read_bytes().count(b"\n") == len(bad)
    assert len(writes) < 30 * len(bad)


@pytest.mark.parametrize(
    "older", [{"path": "/v1/" + "a" * 500}, {"path": "/v1/a\0"}, {"correlation_id": "c" * 900}, {"ip": "fe80::1%eth0"}]
)
def test_what_an_older_version_wrote_is_cut_and_cleaned(older: dict[str, Any], tmp_path: Path) -> None:
    consume(tmp_path, line(0), line(1, **older), line(2))
    assert written_ids() == ["req_0", "req_1", "req_2"]
    assert not (tmp_path / DAMAGED).exists()


def test_a_database_that_goes_away_in_mid_batch_loses_no_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The refused row makes the consumer go on in halves; on the third of them the database is away for a moment."""
    calls = iter([False, False, False, True])

    def unsteady(events: list[RequestEvent], position: Any = None) -> list[RequestEvent]:
        if next(calls, False):
            raise OperationalError("gone")
        return write_events(events, position)

    monkeypatch.setattr(book_module, "write_events", unsteady)
    consume(tmp_path, line(0), line(1, at=NEVER), line(2), line(3))
    assert written_ids() == ["req_0", "req_2", "req_3"]


@pytest.mark.parametrize("bad", [[], [3]], ids=["all are taken", "one is refused"])
def test_what_is_written_is_let_go_of_at_once(bad: list[int], tmp_path: Path) -> None:
    """X97: what only the collector of cycles finds stays for minutes in a process that makes few of them."""
    consume(tmp_path, *(line(number) for number in range(10)))  # what is made once
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for segment in range(2, 6):
            numbers = range(segment * 100, segment * 100 + 50)
            lines = [line(number, at=NEVER if number - numbers[0] in bad else NOW) for number in numbers]
            consume(tmp_path, *lines, name=f"{segment:013}-a.spool")
        gc.collect()
        functions = [kept for kept in gc.garbage if isinstance(kept, FunctionType)]
        assert not [kept for kept in functions if kept.__module__.startswith("usage.")]
        assert not [kept for kept in gc.garbage if isinstance(kept, Position)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_an_event_counts_once_however_often_it_stands_there(tmp_path: Path):
    consume(tmp_path, line(0), line(1), line(0))
    consume(tmp_path, line(1), line(2), name="0000000000002-b.spool")
    assert written_ids() == ["req_0", "req_1", "req_2"]


def test_damaged_lines_are_quarantined_and_the_rest_is_written(tmp_path: Path):
    torn = line(3)[:-20]
    consume(tmp_path, line(0), line(1).replace(b"POST", b"GETS"), b"no event\n", line(2), torn)
    assert written_ids() == ["req_0", "req_2"]
    quarantined = (tmp_path / DAMAGED).read_text()
    assert "GETS" in quarantined
    assert "no event" in quarantined
    assert "its writer did not finish it" in quarantined


def test_an_event_of_another_version_is_read(tmp_path: Path):
    older = b'{"id":"req_0","at":1790000000.0,"method":"POST","path":"/v1/x","status":200,"outcome":"complete",'
    newer = older.replace(b"req_0", b"req_1") + b'"something_new":{"a":1},'
    consume(tmp_path, *(sealed(text + b'"duration_ms":1.0}') for text in (older, newer)))
    assert written_ids() == ["req_0", "req_1"]


def test_positions_are_forgotten_with_their_segments(tmp_path: Path):
    consume(tmp_path, line(0))
    assert not JournalPosition.objects.exists()


@pytest.mark.parametrize(
    "edited",
    [
        {"at": 1e20},
        {"at": -1e20},
        {"key": 2**70},
        {"model": "nul\0"},
        {"cost_picousd": 2**80},
        {"ip": "no address"},
    ],
    ids=str,
)
def test_an_event_edited_beyond_what_a_row_can_hold_stops_nothing(edited: dict[str, Any], tmp_path: Path):
    """Its seal was made anew, so it is read; SQLite takes some of them."""
    consume(tmp_path, line(0), line(1, **edited), line(2))
    assert {"req_0", "req_2"} <= set(written_ids())
    quarantined = (tmp_path / DAMAGED).read_bytes() if (tmp_path / DAMAGED).exists() else b""
    assert ("req_1" in written_ids()) != (b"req_1" in quarantined)
    assert not list(tmp_path.glob("*.spool"))


def test_an_event_of_a_wrong_kind_is_quarantined(tmp_path: Path):
    documents = (b'{"id":1}', b"[]", b'{"id":"req_9","at":"now"}', b'{"id":"\xff"}', b"")
    consume(tmp_path, line(0), *(sealed(document) for document in documents), line(1))
    assert written_ids() == ["req_0", "req_1"]
    assert (tmp_path / DAMAGED).read_bytes().count(b"it is no event") == len(documents)


def test_what_comes_late_does_not_set_back_when_a_key_was_used(tmp_path: Path):
    key, _ = VirtualKey.objects.mint(name="one")
    consume(tmp_path, line(0, key=key.pk, at=1_790_000_100.5))
    consume(tmp_path, line(1, key=key.pk, at=1_790_000_000.0), name="0000000000002-b.spool")
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert (key.last_used_at.timestamp(), key.total_requests) == (1_790_000_100.5, 2)


def test_time_that_runs_backwards_is_written_as_it_was(tmp_path: Path):
    consume(tmp_path, line(0, at=1_790_000_100.0), line(1, at=1_790_000_000.0), line(2, at=1_790_000_200.0))
    times = RequestRecord.objects.order_by("pk").values_list("created_at", flat=True)
    assert [int(at.timestamp()) - 1_790_000_000 for at in times] == [100, 0, 200]
