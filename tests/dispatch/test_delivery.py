"""F122: batches, retries, what is refused, what is given up, and what is counted of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.kit.dispatching import ListSource, Obedient, event
from usage.dispatch.base import Later, PartlyDelivered, Refused, Rejected
from usage.dispatch.book import Book, claimed
from usage.dispatch.dead_letters import DeadLetters, DeadLetterSource
from usage.dispatch.delivery import Delivery, Pace
from usage.sending.backoff import Backoff, retry_after_s

START = 1_000_000.0


class Bench:
    """A delivery with its hands free: time stands still unless it is moved."""

    def __init__(self, directory: Path, *answers: Any, events: int = 0, **pace: Any) -> None:
        self.directory = directory
        self.now = START
        self.source = ListSource([event(number) for number in range(events)])
        self.dispatcher = Obedient(*answers)
        self.pace = Pace(**{"batch_events": 10, "backoff": Backoff(first_s=4.0), **pace})
        self.reopen()

    def reopen(self) -> None:
        """As after a crash, or a new start."""
        self.source.close()
        self.book = Book(self.directory, "b")
        self.letters = DeadLetters(self.directory, "b", 10_000)
        self.delivery = Delivery(
            self.dispatcher, self.source, self.book, self.letters, self.pace, clock=lambda: self.now
        )

    def drain(self) -> bool:
        return self.delivery.drain(self.now + 60)

    @property
    def sizes(self) -> list[int]:
        return [len(call) for call in self.dispatcher.calls]

    @property
    def counts(self) -> tuple[int, int, int]:
        state = Book(self.directory, "b").state
        return state.delivered, state.failed, state.dead_letters


def ids(*numbers: int) -> list[str]:
    return [f"req_{number}" for number in numbers]


def test_what_waits_goes_in_batches_and_is_done_with(tmp_path: Path):
    bench = Bench(tmp_path, events=25)
    assert bench.drain()
    assert bench.sizes == [10, 10, 5]
    assert not bench.source.waiting
    assert bench.counts == (25, 0, 0)


def test_a_batch_waits_to_be_full_or_old(tmp_path: Path):
    bench = Bench(tmp_path, events=3, batch_s=2.0)
    assert bench.delivery.step(hurried=False) == 0
    assert bench.delivery.step(hurried=False) > 0
    bench.source.waiting |= {each.id: each for each in (event(3), event(4))}
    bench.now += 1.9
    assert bench.delivery.step(hurried=False) == 0
    assert 0 < bench.delivery.step(hurried=False) <= 0.2
    assert bench.dispatcher.calls == []
    bench.now += 0.2
    bench.delivery.step(hurried=False)
    assert bench.dispatcher.calls == [ids(0, 1, 2, 3, 4)]


def test_a_target_that_is_away_gets_the_same_later_and_nothing_else_is_read(tmp_path: Path):
    bench = Bench(tmp_path, Later("away"), Later("away"), events=40)
    assert not bench.drain()
    assert bench.sizes == [10]
    assert bench.source.read_at_most == 10
    assert not bench.drain(), "its time has not come"
    assert bench.sizes == [10]
    waits = []
    for _ in range(2):
        waits.append(bench.book.state.retry_at - bench.now)
        bench.now = bench.book.state.retry_at
        bench.drain()
    assert 2 <= waits[0] <= 4 < waits[1] <= 8
    assert bench.dispatcher.calls[0] == bench.dispatcher.calls[1] == bench.dispatcher.calls[2] == ids(*range(10))
    assert bench.counts == (40, 2, 0)
    assert bench.book.state.error == ""


def test_the_pause_outlives_the_process(tmp_path: Path):
    """A task that is called by the clock must not knock on a closed door each time."""
    bench = Bench(tmp_path, Later("away", retry_after_s=100.0), events=1)
    bench.drain()
    bench.reopen()
    bench.now += 99
    assert not bench.drain()
    assert bench.sizes == [1]
    bench.now += 1
    assert bench.drain()
    assert bench.sizes == [1, 1]


def test_what_was_not_done_with_comes_again_after_a_crash(tmp_path: Path):
    bench = Bench(tmp_path, [], SystemExit(), events=15)
    with pytest.raises(SystemExit):
        bench.drain()
    bench.reopen()
    assert bench.drain()
    assert bench.dispatcher.calls == [ids(*range(10)), ids(*range(10, 15)), ids(*range(10, 15))]
    assert bench.counts == (15, 0, 0)


def test_a_delivered_batch_is_not_sent_again_because_the_journal_was_away(tmp_path: Path):
    bench = Bench(tmp_path, events=3)

    def take_and_lose_the_journal(_: Any) -> list[Any]:
        bench.source.away = OSError("gone")
        return []

    bench.dispatcher.answers = [take_and_lose_the_journal]
    assert not bench.drain()
    assert len(bench.source.waiting) == 3
    bench.source.away = None
    bench.now += 1000
    assert bench.drain()
    assert bench.dispatcher.calls == [ids(0, 1, 2)]
    assert not bench.source.waiting


def test_a_journal_that_is_back_is_no_failure_any_more(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.source.away = OSError(5, "Input/output error")
    assert not bench.drain()
    assert bench.book.state.error == "the journal or the disk: Input/output error"
    bench.source.away = None
    assert bench.drain()
    assert Book(tmp_path, "b").state.error == ""
    assert bench.counts == (0, 0, 0)


def refuse(*bad: str) -> Any:
    """As a server that will not have a batch with one of these in it."""

    def answer(events: Any) -> Any:
        return Refused("it answered 422", "no such field") if {each.id for each in events} & set(bad) else []

    return answer


def test_a_poisoned_batch_is_cut_until_the_culprits_are_alone(tmp_path: Path):
    bench = Bench(tmp_path, *[refuse("req_3", "req_8")] * 99, events=10)
    assert bench.drain()
    letters = list(bench.letters.read())
    assert [letter.event.id for letter in letters] == ids(3, 8)
    assert letters[0].reason == "it answered 422: no such field"
    assert letters[0].event == event(3)
    assert bench.counts == (8, 0, 2)
    assert not bench.source.waiting
    assert bench.letters.file.stat().st_mode & 0o077 == 0


def test_a_target_may_reject_single_events_of_a_batch(tmp_path: Path):
    bench = Bench(tmp_path, lambda events: [Rejected(events[1], "odd")], events=3)
    assert bench.drain()
    assert [(letter.event.id, letter.reason) for letter in bench.letters.read()] == [("req_1", "odd")]
    assert bench.counts == (2, 0, 1)


def test_of_a_batch_that_arrived_in_part_only_the_rest_comes_again(tmp_path: Path):
    bench = Bench(tmp_path, lambda events: PartlyDelivered(events[::2], Later("busy")), events=4)
    bench.drain()
    bench.now += 1000
    assert bench.drain()
    assert bench.dispatcher.calls == [ids(0, 1, 2, 3), ids(1, 3)]
    assert bench.counts == (4, 1, 0)


def test_dead_letters_are_sent_again_when_somebody_asks_for_it(tmp_path: Path):
    bench = Bench(tmp_path, *[refuse("req_1", "req_2")] * 99, events=4)
    bench.drain()
    mended = Bench(tmp_path, *[refuse("req_2")] * 99)
    mended.source = DeadLetterSource(mended.letters)  # type: ignore[assignment]
    mended.delivery = Delivery(mended.dispatcher, mended.source, mended.book, mended.letters, mended.pace)
    assert mended.delivery.drain(float("inf"))
    mended.source.close()
    assert [letter.event.id for letter in mended.letters.read()] == ["req_2"]
    assert not mended.letters.resending.exists()
    assert mended.counts == (3, 0, 3)


def test_dead_letters_that_could_not_be_sent_again_stay(tmp_path: Path):
    letters = DeadLetters(tmp_path, "b", 10_000)
    bench = Bench(tmp_path, *[refuse(*ids(0, 1, 2))] * 99, events=3)
    bench.drain()
    before = [letter.event.id for letter in letters.read()]
    source = DeadLetterSource(letters)
    source.done(source.read(1))
    source.close()
    assert [letter.event.id for letter in letters.read()] == before[1:]
    DeadLetterSource(letters).read(1)  # and then its process is killed
    assert [letter.event.id for letter in letters.read()] == before[1:]
    again = DeadLetterSource(letters)
    assert [taken.event.id for taken in again.read(9)] == before[1:]


def test_a_line_that_is_no_dead_letter_is_named_and_nothing_is_lost(tmp_path: Path):
    bench = Bench(tmp_path, *[refuse(*ids(0, 1))] * 9, events=2)
    bench.drain()
    whole = bench.letters.file.read_text()
    bench.letters.file.write_text(whole + "edited\n")
    with pytest.raises(OSError, match=r"line 3 of .*b.resending.jsonl is no dead letter"):
        DeadLetterSource(bench.letters)
    bench.letters.resending.write_text(whole)
    assert len(DeadLetterSource(bench.letters).read(9)) == 2


def test_full_dead_letters_hold_the_batch_up_instead_of_losing_it(tmp_path: Path):
    bench = Bench(tmp_path, *[refuse(*ids(*range(200)))] * 999, events=100)
    bench.drain()
    kept = len(list(bench.letters.read()))
    assert 0 < kept < 100
    assert len(bench.source.waiting) == 100 - kept
    assert "DISPATCH_DEAD_LETTERS_MAX_BYTES" in bench.book.state.error


def test_one_works_under_a_name(tmp_path: Path):
    with claimed(tmp_path, "b") as first, claimed(tmp_path, "b") as second, claimed(tmp_path, "c") as other:
        assert (first, second, other) == (True, False, True)
    with claimed(tmp_path, "b") as first:
        assert first


def test_a_book_that_is_damaged_begins_anew(tmp_path: Path):
    (tmp_path / "b.state.json").write_text("{")
    assert Book(tmp_path, "b").state.delivered == 0


@pytest.mark.parametrize(
    "header, seconds",
    [("7", 7.0), ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0), ("soon", None), (None, None), ("-3", None)],
)
def test_retry_after_is_read_as_number_and_as_date(header: str | None, seconds: float | None):
    assert retry_after_s(header, 784_111_740.0) == seconds


def test_a_pause_doubles_up_to_its_bound_and_keeps_what_was_asked_for():
    backoff = Backoff(first_s=1.0, most_s=60.0)
    assert [backoff.wait_s(tries, draw=lambda: 1.0) for tries in (1, 2, 3, 7, 99)] == [1, 2, 4, 60, 60]
    assert backoff.wait_s(3, draw=lambda: 0.0) == 2
    assert backoff.wait_s(1, 30.0) == 30
    assert backoff.wait_s(1, 1e9) == 3600


def test_dead_letters_are_json_lines(tmp_path: Path):
    bench = Bench(tmp_path, refuse("req_0"), events=1)
    bench.drain()
    [line] = bench.letters.file.read_text().splitlines()
    assert json.loads(line)["event"]["id"] == "req_0"
