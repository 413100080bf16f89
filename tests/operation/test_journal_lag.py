"""What waits for each consumer of the journal is told exactly, whichever worker is asked, with Redis and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.requests import ask
from tests.kit.services import Services, processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from usage.journal.local_source import LocalSource
from usage.journal.source import Source
from usage.journal.stream import EVENTS, Stream, connect
from usage.journal.stream_source import NOW, StreamSource

EVENTS_ASKED = 12
ASKED_AGAIN = 8
"""Each time on a connection of its own, so that any of the workers may answer."""


@pytest.fixture(params=["one process", "three workers"])
def server(request: pytest.FixtureRequest, services: Services, upstream: Upstream) -> Iterator[Sluice]:
    shared: dict[str, Any] = {"redis": True, "workers": 3} if request.param == "three workers" else {}
    with Sluice.start("postgres", upstream_url=upstream.url, LOG_LEVEL="warning", **shared) as server:
        yield server


@pytest.fixture
def archive(server: Sluice) -> Iterator[Source]:
    source: Source
    if server.redis_url:
        source = StreamSource(Stream(connect(server.redis_url)), "archive", since=NOW, claim_s=60)
    else:
        source = LocalSource(Path(server.env["DATA_DIR"]) / "journal", "archive")
    yield source
    source.close()


def values_of(server: Sluice, name: str, consumer: str) -> set[float]:
    return {server.metrics().total(f"llm_proxy_journal_{name}", consumer=consumer) for _ in range(ASKED_AGAIN)}


def soon_all_say(server: Sluice, name: str, consumer: str, number: float) -> bool:
    return bool(processes.poll(lambda: values_of(server, name, consumer) == {number}, timeout=15, every=0.2))


def test_each_consumer_has_its_own_lag(server: Sluice, archive: Source) -> None:
    key = server.mint("one")
    for _ in range(EVENTS_ASKED):
        assert ask(server, key).status_code == 200
    assert soon_all_say(server, "lag_events", "ledger", 0)
    assert soon_all_say(server, "lag_events", "archive", EVENTS_ASKED)
    assert all(size > 100 * EVENTS_ASKED for size in values_of(server, "lag_bytes", "archive"))
    backlog = archive.backlog()
    assert backlog.events == EVENTS_ASKED
    taken = archive.read(5)
    archive.done(taken)
    assert soon_all_say(server, "lag_events", "archive", EVENTS_ASKED - 5)
    assert {one.event.id for one in [*taken, *archive.read(100)]} == {row["id"] for row in server.rows()}


def test_what_was_quarantined_is_counted(server: Sluice, archive: Source) -> None:
    bad = b"00000000 {}"
    if server.redis_url:
        with connect(server.redis_url) as client:
            client.xadd(EVENTS, {"line": bad})
    else:
        for directory in (Path(server.env["DATA_DIR"]) / "journal", Path(server.env["DATA_DIR"]) / "journal/archive"):
            new = directory / "1-by-hand.new"
            new.write_bytes(bad + b"\n")
            new.rename(new.with_suffix(".spool"))  # an empty one that nobody holds is taken away
    assert archive.read(10) == []
    for consumer in ("ledger", "archive"):
        assert soon_all_say(server, "lines_set_aside_total", consumer, 1)
        assert soon_all_say(server, "lag_events", consumer, 0)
    key = server.mint("one")
    assert ask(server, key).status_code == 200
    assert len(server.rows(expect=1)) == 1
