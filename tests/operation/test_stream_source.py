"""Consumers of the stream in Redis: groups share work, take over from the dead, and survive a Redis that fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from subprocess import PIPE, Popen

import pytest
import redis

from tests.kit.journals import all_of, expected, ids, line
from tests.kit.services import RedisServer, processes
from usage.journal.source import PendingEvent, Source
from usage.journal.stream import EVENTS, QUARANTINE, Stream, connect
from usage.journal.stream_source import MOST_DELIVERIES, NOW, START, StreamSource
from usage.journal.subscribers import LEDGER

CLAIM_S = 1.0
TIMEOUT_S = 5.0
MOST = 1_000_000

Open = Callable[..., StreamSource]


@pytest.fixture
def stream(redis_server: RedisServer) -> Iterator[Stream]:
    with connect(redis_server.url, TIMEOUT_S) as client:
        client.flushall()
        yield Stream(client)


@pytest.fixture
def impatient(stream: Stream, redis_server: RedisServer) -> Iterator[Stream]:
    with connect(redis_server.url, 0.5) as client:
        yield Stream(client)


@pytest.fixture
def opened(stream: Stream) -> Iterator[Open]:
    """`opened("archive")`: a source, closed at the end."""
    sources: list[StreamSource] = []

    def make(group: str, since: str = NOW, claim_s: float = CLAIM_S, on: Stream = stream) -> StreamSource:
        sources.append(StreamSource(on, group, since=since, claim_s=claim_s))
        return sources[-1]

    yield make
    for source in sources:
        source.close()


def ship(stream: Stream, numbers: range) -> None:
    lines = [line(number).rstrip(b"\n") for number in numbers]
    epoch = stream.ship(lines, "", MOST).epoch
    assert stream.ship(lines, epoch, MOST).id


def eventually(source: Source, count: int) -> list[PendingEvent]:
    """So many, done with each, once they come."""
    found: list[PendingEvent] = []

    def enough() -> bool:
        found.extend(all_of(source))
        return len(found) >= count

    assert processes.poll(enough, timeout=20), len(found)
    return found


def test_each_group_gets_every_event_in_order(stream: Stream, opened: Open):
    one, other = opened("one"), opened("other")
    ship(stream, range(50))
    assert ids(all_of(one)) == expected(*range(50))
    ship(stream, range(50, 60))
    assert ids(all_of(one)) == expected(*range(50, 60))
    assert ids(all_of(other)) == expected(*range(60))
    assert all_of(one) == []


def test_a_new_group_gets_what_ends_from_now_on(stream: Stream, opened: Open):
    ship(stream, range(5))
    source = opened("late")
    ship(stream, range(5, 9))
    assert ids(all_of(source)) == expected(*range(5, 9))


def test_the_processes_of_a_group_share_its_events(stream: Stream, opened: Open):
    first, second = opened("one"), opened("one")
    ship(stream, range(40))
    parts = [first.read(10), second.read(10), first.read(10), second.read(10)]
    assert sorted(found for part in parts for found in ids(part)) == expected(*range(40))


def test_what_a_process_holds_is_its_own_while_it_lives(stream: Stream, opened: Open):
    busy, idle = opened("one", claim_s=2), opened("one", claim_s=2)
    ship(stream, range(10))
    held = busy.read(10)
    # Its time is over twice, had it not said that it still works on them.
    assert processes.poll(lambda: all_of(idle), timeout=4) == []
    busy.done(held)
    assert idle.backlog().events == 0


def test_what_a_closed_process_held_comes_to_another_at_once(stream: Stream, opened: Open):
    first, second = opened("one", claim_s=600), opened("one", claim_s=600)
    ship(stream, range(10))
    taken = first.read(10)
    first.done(taken[::2])
    first.close()
    assert ids(all_of(second)) == ids(taken[1::2])


def test_a_killed_process_s_events_are_taken_over(stream: Stream, opened: Open, redis_server: RedisServer):
    source = opened("one")
    ship(stream, range(20))
    with stuck(redis_server.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split() == expected(*range(8))
        process.kill()
    assert sorted(ids(eventually(source, 20))) == expected(*range(20))


def stuck(url: str) -> Popen[str]:
    """A process that reads eight events and is never done with them."""
    program = (
        "from django.conf import settings; settings.configure()\n"
        "from usage.journal.stream import Stream, connect\n"
        "from usage.journal.stream_source import StreamSource\n"
        f"source = StreamSource(Stream(connect({url!r})), 'one', since='$', claim_s={CLAIM_S})\n"
        "print(*(one.event.id for one in source.read(8)), flush=True)\n"
        "input()\n"
    )
    return Popen([sys.executable, "-c", program], stdin=PIPE, stdout=PIPE, text=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"line": b"no line"},
        {"line": line(1).rstrip(b"\n").replace(b"POST", b"GETS")},
        {"line": b"\xff\xfe"},
        {"line": b""},
        {"something": b"else"},
    ],
)
def test_an_entry_that_is_none_is_quarantined(
    fields: dict[str, bytes], stream: Stream, opened: Open, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
):
    source = opened("one")
    ship(stream, range(3))
    with redis_server.client() as client:
        poison = client.xadd(EVENTS, fields)
        ship(stream, range(3, 6))
        assert ids(all_of(source)) == expected(*range(6))
        ((_, quarantined),) = client.xrange(QUARANTINE)
    assert quarantined[b"id"] == poison
    assert quarantined[b"group"] == b"one"
    assert next(iter(fields.values())) in quarantined[b"line"]
    assert "is quarantined" in caplog.text
    told = stream.tend(LEDGER, MOST).groups["one"]
    assert (told.waiting, told.quarantined) == (0, 1)


def test_what_kills_whoever_gets_it_is_quarantined(stream: Stream, opened: Open, redis_server: RedisServer):
    opened("one")
    ship(stream, range(1))
    with redis_server.client() as client:
        client.xreadgroup("one", "dead", {EVENTS: ">"})
        for number in range(MOST_DELIVERIES - 1):
            client.xautoclaim(EVENTS, "one", f"dead-{number}", 0)
        (dying,) = client.xpending_range(EVENTS, "one", "-", "+", 10)
        assert dying["times_delivered"] == MOST_DELIVERIES
        source = opened("one")
        assert processes.poll(lambda: client.xlen(QUARANTINE) or source.read(5), timeout=20) == 1
        assert not client.xpending(EVENTS, "one")["pending"]


def test_redis_away_is_told_and_nothing_is_lost(
    stream: Stream, impatient: Stream, opened: Open, redis_server: RedisServer
):
    source = opened("one", on=impatient)
    ship(stream, range(20))
    assert redis_server.process is not None
    held = source.read(5)
    redis_server.freeze()
    try:
        # What it was asked meanwhile it does when it wakes up, and nobody sees the answer.
        for _ in range(3):
            with pytest.raises(redis.RedisError):
                source.read(4)
        with pytest.raises(redis.RedisError):
            source.done(held)
    finally:
        redis_server.thaw()
    source.done(held)
    assert sorted(ids(eventually(source, 15))) == expected(*range(5, 20))


def test_an_emptied_redis_goes_on(stream: Stream, opened: Open, redis_server: RedisServer):
    source = opened("one")
    ship(stream, range(5))
    held = source.read(5)
    with redis_server.client() as client:
        client.flushall()
    ship(stream, range(5, 9))
    source.done(held)
    assert ids(eventually(source, 4)) == expected(*range(5, 9))


def test_what_every_group_is_done_with_is_deleted(stream: Stream, opened: Open, redis_server: RedisServer):
    ledger, other = opened(LEDGER, START), opened("other")
    ship(stream, range(30))
    all_of(ledger)
    other.done(other.read(10))
    held = other.read(5)
    assert stream.tend(LEDGER, MOST).length == 20
    other.done(held[1:])
    assert stream.tend(LEDGER, MOST).length == 20
    other.done(held[:1])
    assert stream.tend(LEDGER, MOST).length == 15
    assert ids(all_of(other)) == expected(*range(15, 30))
    assert stream.tend(LEDGER, MOST).length == 0


def test_beyond_the_bound_others_lose_their_oldest_and_the_ledger_none(stream: Stream, opened: Open):
    ledger, behind = opened(LEDGER, START), opened("behind")
    ship(stream, range(30))
    behind.done(behind.read(4))
    ledger.done(ledger.read(20))
    tended = stream.tend(LEDGER, 6)
    assert tended.length == 10, "what the ledger needs stays, whatever the bound"
    assert tended.groups["behind"].dropped_now == tended.groups["behind"].dropped == 16
    assert tended.groups[LEDGER].dropped == 0
    assert ids(all_of(ledger)) == expected(*range(20, 30))
    tended = stream.tend(LEDGER, 6)
    assert (tended.length, tended.groups["behind"].dropped) == (6, 20)
    assert ids(all_of(behind)) == expected(*range(24, 30))


def test_a_full_stream_takes_no_more(stream: Stream):
    ship(stream, range(5))
    epoch = stream.tend(LEDGER, MOST).epoch
    assert stream.ship([line(5)], epoch, 5).id == ""
    assert stream.ship([line(5)], epoch, 6).id


def test_a_new_redis_is_a_new_epoch(stream: Stream, redis_server: RedisServer):
    epoch = stream.ship([], "", MOST).epoch
    assert stream.ship([line(0)], epoch, MOST).id
    with redis_server.client() as client:
        client.flushall()
    emptied = stream.ship([line(1)], epoch, MOST)
    assert emptied.id is None
    assert emptied.epoch != epoch
    redis_server.stop()
    redis_server.start()
    assert stream.ship([line(1)], emptied.epoch, MOST).id is None
    assert stream.tend(LEDGER, MOST).length == 0


def test_the_backlog_is_told(stream: Stream, opened: Open):
    source = opened("one")
    assert source.backlog() == (0, 0, None)
    ship(stream, range(20))
    backlog = source.backlog()
    assert backlog.events == 20
    assert backlog.bytes > 20 * len(line(0)) / 2
    assert backlog.oldest_at is not None
    held = source.read(5)
    assert source.backlog().events == 20
    source.done(held)
    assert source.backlog().events == 15
