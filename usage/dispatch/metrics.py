"""Metrics of dispatchers, read from their state files and the journal, so that any process of the host has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from usage.dispatch.book import State, consumer_of, states
from usage.journal.backlog import backlog_of
from usage.journal.consumer import STATE
from usage.journal.consumer import State as JournalState
from usage.journal.subscribers import PROGRESS, Progress
from usage.replace import read_file

COUNTERS = {
    "delivered": "Events that a target took.",
    "failed": "Calls to a target that have to be made again.",
    "dead_letters": "Events that a target refused for good.",
}


class DispatchCollector(Collector):
    """Reads the files each time metrics are collected. Dispatchers in `configured` have metrics from the beginning."""

    def __init__(self, directory: Path, journal: Path, configured: Iterable[str]) -> None:
        self._directory, self._journal, self._configured = directory, journal, list(configured)

    def collect(self) -> Iterator[Metric]:
        all_states = {**dict.fromkeys(self._configured, State()), **states(self._directory)}
        for name, text in COUNTERS.items():
            counter = CounterMetricFamily(f"llm_proxy_dispatch_{name}", text, labels=["dispatcher"])
            for dispatcher, state in all_states.items():
                counter.add_metric([dispatcher], getattr(state, name))
            yield counter
        backlog = GaugeMetricFamily(
            "llm_proxy_dispatch_backlog_events", "Events that wait for a dispatcher.", labels=["dispatcher"]
        )
        failing = GaugeMetricFamily(
            "llm_proxy_dispatch_failing", "1 while a target takes nothing.", labels=["dispatcher"]
        )
        for dispatcher, state in all_states.items():
            backlog.add_metric([dispatcher], self._waiting(dispatcher, state))
            failing.add_metric([dispatcher], int(bool(state.error)))
        yield from (backlog, failing)

    def _waiting(self, dispatcher: str, state: State) -> int:
        """Return how many events wait: as the journal has it now, else as the dispatcher last measured it."""
        consumer = consumer_of(dispatcher)
        group = read_file(self._journal / STATE, JournalState).groups.get(consumer)
        if group is not None:
            return group.waiting
        directory = self._journal / consumer
        if directory.is_dir():
            return backlog_of(directory, read_file(directory / PROGRESS, Progress).read).events
        return state.backlog_events
