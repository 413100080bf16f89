"""What dispatchers did, for Prometheus; read from their books, so that any process of the host can tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from usage.dispatch.book import State, states

COUNTERS = {
    "delivered": "Events that a target took.",
    "failed": "Calls to a target that have to be made again.",
    "dead_letters": "Events that a target refused for good.",
    "dropped": "Events given up because more than DISPATCH_MAX_BACKLOG waited.",
}
GAUGES = {
    "backlog_events": "Events that wait for a dispatcher, when it last looked.",
    "failing": "1 while a target takes nothing.",
}


class DispatchCollector(Collector):
    """Looks into the books of one directory each time that it is asked."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        found = states(self._directory)
        for name, text in COUNTERS.items():
            counter = CounterMetricFamily(f"llm_proxy_dispatch_{name}", text, labels=["dispatcher"])
            for dispatcher, state in found.items():
                counter.add_metric([dispatcher], getattr(state, name))
            yield counter
        for name, text in GAUGES.items():
            gauge = GaugeMetricFamily(f"llm_proxy_dispatch_{name}", text, labels=["dispatcher"])
            for dispatcher, state in found.items():
                gauge.add_metric([dispatcher], _gauge(name, state))
            yield gauge


def _gauge(name: str, state: State) -> int:
    return state.backlog_events if name == "backlog_events" else int(bool(state.error))
