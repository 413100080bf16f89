"""The journal beside a running server: what waits is said, a full disk loses nothing, another may write the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.requests import ask
from tests.kit.services import Services, processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer


@pytest.fixture
def separate(services: Services, upstream: Upstream) -> Iterator[Sluice]:
    """A server whose ledger nobody writes."""
    upstream.answers(*[chat_answer()] * 4000)
    with Sluice.start(upstream_url=upstream.url, LEDGER_WRITER="separate", LOG_LEVEL="warning") as server:
        yield server


def test_events_wait_for_whoever_writes_the_ledger(separate: Sluice):
    key = separate.mint("one")
    assert separate.metrics().total("llm_proxy_journal_lag_bytes") == 0
    for _ in range(3):
        assert ask(separate, key).status_code == 200
    assert separate.metrics().total("llm_proxy_journal_lag_bytes") > 3 * 200
    assert separate.rows() == []
    separate.manage("ledger", "--once", json=False)
    assert len(separate.rows()) == 3
    assert separate.metrics().total("llm_proxy_journal_lag_bytes") == 0


def test_a_file_that_cannot_be_written_is_held_in_memory(separate: Sluice):
    """The disk is full: requests go on, and what they used is on disk when there is room again."""
    key = separate.mint("one")
    for _ in range(3):
        assert ask(separate, key).status_code == 200
    (segment,) = Path(separate.env["DATA_DIR"]).glob("journal/*.spool")
    assert separate.process is not None
    # In the middle of the next line; the server's log is shorter and goes on.
    processes.limit_file_size(separate.process.pid, segment.stat().st_size + 50)
    for _ in range(5):
        assert ask(separate, key).status_code == 200
    assert "they wait in memory" in separate.log_text()
    separate.manage("ledger", "--once", json=False)
    assert len(separate.rows()) == 3
    processes.limit_file_size(separate.process.pid, None)
    assert processes.poll(lambda: "takes events again" in separate.log_text(), timeout=20)
    separate.manage("ledger", "--once", json=False)
    assert len(separate.rows()) == 8


def test_another_process_ships_and_writes_where_there_is_a_redis(services: Services, upstream: Upstream):
    upstream.answers(*[chat_answer()] * 10)
    with Sluice.start("postgres", redis=True, upstream_url=upstream.url, LEDGER_WRITER="separate") as server:
        key = server.mint("one")
        for _ in range(3):
            assert ask(server, key).status_code == 200
        assert server.metrics().total("llm_proxy_journal_lag_events", consumer="ledger") == 3
        server.manage("ledger", "--once", json=False)
        assert len(server.rows()) == 3
        assert server.metrics().total("llm_proxy_journal_lag_events", consumer="ledger") == 0
