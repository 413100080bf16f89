"""How workers add up: what stands in a ring is read again, at whichever byte it wraps; names are bounded together."""

from __future__ import annotations

import fcntl
import os
import random
import threading
from pathlib import Path

import pytest

from usage.event import RequestEvent
from usage.journal.record import encode
from usage.telemetry.counting import shared
from usage.telemetry.counting.labels import OTHER, Labels
from usage.telemetry.counting.numbers import Numbers
from usage.telemetry.counting.shared import Worker, events, others

RING = 1_003


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "RING_BYTES", RING)


def document(number: int, length: int) -> bytes:
    return encode(RequestEvent(f"req_{number}", 1.0, "POST", "x" * length, 200, "complete", 1.0))


def die(worker: Worker) -> None:
    """What the end of a process does to its lock."""
    fcntl.flock(worker._fd, fcntl.LOCK_UN)


def test_what_is_not_in_the_sums_is_in_the_ring_wherever_it_wraps(tmp_path: Path):
    draw = random.Random(7)
    worker = Worker(tmp_path)
    counted = 0
    waiting: list[str] = []
    for number in range(3_000):
        at = worker.append(document(number, draw.randrange(90)), 3)
        waiting.append(f"req_{number}")
        if len(waiting) == 4:
            found = [event.id for event in events(worker.ring.read_bytes(), counted)]
            assert found == waiting
            worker.publish(at, Numbers(), lambda: 3)
            counted = at
            waiting.clear()


def test_without_room_an_event_is_left_out_and_the_others_stay(tmp_path: Path):
    worker = Worker(tmp_path)
    for number in range(50):
        worker.append(document(number, 10), 3)
    found = [event.id for event in events(worker.ring.read_bytes(), 0)]
    assert found == [f"req_{number}" for number in range(len(found))]
    assert 5 < len(found) < 50


def test_of_a_worker_its_sums_count_and_what_it_has_answered_since(tmp_path: Path):
    own, other = Worker(tmp_path), Worker(tmp_path)
    at = other.append(document(1, 10), 3)
    numbers = Numbers(active=3)
    numbers.count(("x",), 5)
    other.publish(at, numbers, lambda: 3)
    other.append(document(2, 10), 3)
    (told,) = others(tmp_path, own.ring)
    assert (told.alive, told.numbers, [event.id for event in told.uncounted]) == (True, numbers, ["req_2"])
    die(other)
    (told,) = others(tmp_path, own.ring)
    assert (told.alive, [event.id for event in told.uncounted]) == (False, ["req_2"])
    whole = Numbers(active=1)
    whole.add(told.numbers, alive=told.alive)
    assert (whole.active, whole.counters) == (1, {("x",): 5})


def test_what_ends_while_the_sums_are_told_is_no_longer_under_way(tmp_path: Path):
    """The event loop ends the last request just when another thread has read that it runs."""
    own, other = Worker(tmp_path), Worker(tmp_path)
    running = [1]

    def active() -> int:
        found = running[0]
        if found:
            running[0] = 0
            other.append(document(1, 10), 0)
        return found

    other.publish(0, Numbers(active=1), active)
    (told,) = others(tmp_path, own.ring)
    assert told.numbers.active == 0


def test_a_ring_that_is_written_while_it_is_read_tells_each_event_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shared, "RING_BYTES", 2_000_000)
    own, other = Worker(tmp_path), Worker(tmp_path)
    stop = threading.Event()

    def work() -> None:
        numbers, number = Numbers(), 0
        while not stop.is_set():
            at = 0
            for _ in range(200):
                number += 1
                at = other.append(document(number, 5_000), 3)
                numbers.count(("x",), 1)
            other.publish(at, numbers, lambda: 3)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        last = 0
        for _ in range(100):
            (told,) = others(tmp_path, own.ring)
            counted = told.numbers.counters.get(("x",), 0)
            numbers = [int(event.id.removeprefix("req_")) for event in told.uncounted]
            assert numbers == list(range(counted + 1, counted + len(numbers) + 1))
            assert counted + len(numbers) >= last
            last = counted + len(numbers)
    finally:
        stop.set()
        worker.join()
    assert last > 1_000, "the ring was written over many times"


def test_one_that_died_before_it_told_anything_is_read_from_its_ring(tmp_path: Path):
    own, other = Worker(tmp_path), Worker(tmp_path)
    other.append(document(1, 10), 3)
    die(other)
    (told,) = others(tmp_path, own.ring)
    assert [event.id for event in told.uncounted] == ["req_1"]


def test_names_are_bounded_over_all_books_and_labelled_alike(tmp_path: Path):
    one, other = Labels("models", 3, tmp_path), Labels("models", 3, tmp_path)
    assert [one.of("a"), other.of("b"), one.of("line\nbreak")] == ["a", "b", "line\nbreak"]
    assert [one.of("d"), other.of("e"), other.of("d")] == [OTHER] * 3
    for book in (one, other, Labels("models", 3, tmp_path)):
        assert [book.of(name) for name in ("a", "b", "line\nbreak", "d", "")] == ["a", "b", "line\nbreak", OTHER, ""]
    assert Labels("keys", 3, tmp_path).of("d") == "d"


def test_a_book_that_cannot_be_written_counts_as_other_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    os.mkdir(tmp_path / "models.labels")
    assert Labels("models", 3, tmp_path).of("a") == OTHER
    assert "takes no name" in caplog.text
