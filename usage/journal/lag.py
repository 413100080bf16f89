"""How far the ledger is behind the journal, for the metrics; read from the disk, so that any process can tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from usage.journal.consumer import STATE, State
from usage.journal.segments import segments

_decoder = msgspec.json.Decoder(State)


def state_of(directory: Path) -> State:
    """What the consumer last told; nothing when it has not told anything yet."""
    try:
        return _decoder.decode((directory / STATE).read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return State()


def waiting_bytes(directory: Path, state: State) -> int:
    """Bytes of events that are in the journal and not yet in the ledger."""
    waiting = 0
    for segment in segments(directory):
        try:
            waiting += segment.stat().st_size - state.read.get(segment.name, 0)
        except FileNotFoundError:
            continue  # read to its end in this very moment
    return max(0, waiting)


class JournalCollector(Collector):
    """Looks at the journal of one directory each time that it is asked."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        state = state_of(self._directory)
        yield GaugeMetricFamily(
            "llm_proxy_journal_lag_bytes",
            "Events in the journal that are not in the ledger yet.",
            value=waiting_bytes(self._directory, state),
        )
        yield GaugeMetricFamily(
            "llm_proxy_ledger_available", "1 while the database takes rows.", value=0 if state.failing else 1
        )
        yield CounterMetricFamily(
            "llm_proxy_journal_lines_set_aside", "Lines that could not be written.", value=state.damaged
        )
