"""From the spool into Redis: each event at least once, and a segment stays until the ledger has its events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.journals import add, event, expected, line, writing
from tests.kit.services import RedisServer
from usage.journal.record import read
from usage.journal.segments import count_lines, segments
from usage.journal.shipper import Shipper
from usage.journal.source import PendingEvent
from usage.journal.stream import EVENTS, LINE, Stream, connect
from usage.journal.stream_source import START, StreamSource
from usage.journal.subscribers import LEDGER

MOST = 10_000
PLENTY = 10**9


class Host:
    """A spool with its shipper, and the ledger's source."""

    def __init__(self, directory: Path, url: str, most_events: int = MOST) -> None:
        self.directory = directory
        self.booked: dict[str, int] = {}
        self.quarantined: list[bytes] = []
        self.client = connect(url)
        self.stream = Stream(self.client)
        self.ledger = StreamSource(self.stream, LEDGER, since=START, claim_s=60)
        self.start(most_events)

    def start(self, most_events: int = MOST) -> None:
        """As a new process does; what the ledger has is in a file of the consumer's."""
        self.shipper = Shipper(
            self.directory, self.stream, self.booked, most_events, lambda bad, name, why: self.quarantined.append(bad)
        )

    def write(self, most: int = MOST) -> list[PendingEvent]:
        taken = self.ledger.read(most)
        self.ledger.done(taken)
        return taken

    def heed(self, unshipped_bytes: int = PLENTY) -> int:
        """How many events were given up."""
        self.shipper.heed(self.stream.tend(LEDGER, MOST), LEDGER)
        return self.shipper.clear(unshipped_bytes)

    def shipped(self) -> list[str]:
        """What the stream has."""
        entries: Any = self.client.xrange(EVENTS)
        return [read(fields[LINE]).id for _, fields in entries]

    def segments(self) -> int:
        return len(segments(self.directory))


@pytest.fixture
def host(redis_server: RedisServer, tmp_path: Path) -> Iterator[Host]:
    with redis_server.client() as client:
        client.flushall()
    host = Host(tmp_path, redis_server.url)
    yield host
    host.ledger.close()
    host.client.close()


def test_a_segment_stays_until_the_ledger_has_its_events(host: Host) -> None:
    with writing(host.directory) as spool:
        add(spool, range(30))
    host.shipper.ship()
    assert host.shipped() == expected(*range(30))
    before = host.segments()
    host.heed()
    assert host.segments() == before
    host.write(15)
    host.heed()
    assert 0 < host.segments() < before
    host.write()
    host.heed()
    assert host.segments() == 0
    assert host.shipped() == []


def test_what_was_given_out_and_not_written_keeps_its_segment(host: Host) -> None:
    with writing(host.directory, 10**6) as spool:
        add(spool, range(10))
    host.shipper.ship()
    taken = host.ledger.read(10)
    host.ledger.done(taken[1:])
    host.heed()
    assert host.segments() == 1
    host.ledger.done(taken)
    host.heed()
    assert host.segments() == 0


def test_a_new_process_goes_on_where_the_last_one_was(host: Host) -> None:
    with writing(host.directory, 10**6) as spool:
        add(spool, range(10))
        host.shipper.ship()
        host.start()
        add(spool, range(10, 15))
        host.shipper.ship()
        assert host.shipped() == expected(*range(15))
        host.write()
        host.start()
        host.heed()
    host.heed()
    assert host.segments() == 0, "it knows as which entries they were shipped"


@pytest.mark.parametrize("restart", [False, True])
def test_of_an_emptied_redis_only_what_the_ledger_lacks_is_sent_again(
    host: Host, redis_server: RedisServer, restart: bool
):
    with writing(host.directory, 10**6) as spool:
        add(spool, range(10))
        host.shipper.ship()
        host.write(10)
        host.heed()
        add(spool, range(10, 20))
        host.shipper.ship()
        if restart:
            redis_server.stop()
            redis_server.start()
        else:
            host.client.flushall()
        add(spool, range(20, 25))
        host.shipper.ship()
        assert host.shipped() == expected(*range(10, 25))


def test_a_position_that_cannot_be_read_sends_all_again(host: Host) -> None:
    with writing(host.directory, 10**6) as spool:
        add(spool, range(10))
        host.shipper.ship()
        host.write(10)
        host.heed()
        add(spool, range(10, 12))
        (host.directory / "shipped.json").write_bytes(b"{half")
        host.start()
        host.shipper.ship()
        assert host.shipped() == expected(*range(12))


def test_damaged_lines_are_quarantined_once_and_not_shipped(host: Host) -> None:
    torn, edited = line(3)[:-9], line(1).replace(b"POST", b"GETS")
    host.directory.joinpath("1-a.spool").write_bytes(line(0) + edited + b"no event\n" + line(2) + torn)
    host.directory.joinpath("2-b.spool").write_bytes(b"nothing but this\n")
    for _ in range(3):
        host.shipper.ship()
        host.heed()
    assert [taken.event.id for taken in host.write()] == expected(0, 2)
    host.heed()
    assert host.quarantined == [edited.rstrip(), b"no event", b"nothing but this", torn]
    assert host.segments() == 0


def test_a_full_stream_leaves_events_in_the_spool(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.start(most_events=10)
    with writing(host.directory) as spool:
        add(spool, range(40))
    for _ in range(3):
        host.shipper.ship()
    few = len(host.shipped())
    assert 10 <= few < 40
    assert caplog.text.count("has reached JOURNAL_STREAM_MAX_EVENTS") == 1
    seen: list[str] = []
    while taken := host.write():
        seen += [one.event.id for one in taken]
        host.heed()
        host.shipper.ship()
    assert seen == expected(*range(40))
    assert caplog.text.count("has room again") >= 1


def test_what_redis_misses_for_too_long_is_given_up_once_the_ledger_has_it(host: Host) -> None:
    with writing(host.directory) as spool:
        add(spool, range(40))
        for segment in segments(host.directory)[:-1]:  # written from the spool, while Redis is away
            host.booked[segment.name] = segment.stat().st_size
        sizes = [segment.stat().st_size for segment in segments(host.directory)]
        given_up = host.shipper.clear(sum(sizes[2:-1]))
        assert given_up == sum(size // len(line(0)) for size in sizes[:2])
        assert host.segments() == len(sizes) - 2
        host.shipper.ship()
        assert host.shipped() == [event(number).id for number in range(given_up, 40)]


def test_what_the_ledger_lacks_is_never_given_up(host: Host) -> None:
    with writing(host.directory) as spool:
        add(spool, range(40))
    assert host.shipper.clear(0) == 0
    assert sum(map(count_lines, segments(host.directory))) == 40
