"""Metrics of how far consumers are behind the journal.

They are read from the disk, so that each process of a host reports the same: segments and positions as they are now,
and what the ledger process last heard from Redis, at most a second ago.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from usage.journal.backlog import backlog_of
from usage.journal.consumer import STATE, State
from usage.journal.source import Backlog
from usage.journal.subscribers import DROPPED, LEDGER, PROGRESS, Dropped, Progress, subscribers
from usage.replace import read_file

LABELS = ("consumer",)


class JournalCollector(Collector):
    """Reads the journal in one directory each time metrics are collected."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        state = read_file(self._directory / STATE, State)
        waits: dict[str, Backlog] = {LEDGER: backlog_of(self._directory, state.read)}
        quarantined: dict[str, int] = {LEDGER: state.damaged}
        dropped: dict[str, int] = {}
        for directory in subscribers(self._directory) if self._directory.is_dir() else ():
            progress = read_file(directory / PROGRESS, Progress)
            waits[directory.name] = backlog_of(directory, progress.read)
            quarantined[directory.name] = progress.quarantined
            dropped[directory.name] = read_file(directory / DROPPED, Dropped).events
        for name, group in state.groups.items():
            quarantined[name] = quarantined.get(name, 0) + group.quarantined
            dropped[name] = dropped.get(name, 0) + group.dropped
            if name != LEDGER:  # what waits for the ledger on this host is in the spool, and counted above
                waits[name] = Backlog(group.waiting, group.bytes, None)
        lag_bytes = GaugeMetricFamily(
            "llm_proxy_journal_lag_bytes",
            "Bytes that a consumer of the journal is not done with.",
            labels=LABELS,
        )
        lag_events = GaugeMetricFamily(
            "llm_proxy_journal_lag_events", "Events that a consumer of the journal is not done with.", labels=LABELS
        )
        quarantined_lines = CounterMetricFamily(
            "llm_proxy_journal_lines_set_aside", "Events that a consumer could not use.", labels=LABELS
        )
        lost = CounterMetricFamily(
            "llm_proxy_journal_backlog_dropped", "Events that a consumer was too far behind to get.", labels=LABELS
        )
        for name, backlog in waits.items():
            lag_bytes.add_metric([name], backlog.bytes)
            lag_events.add_metric([name], backlog.events)
        for name, count in quarantined.items():
            quarantined_lines.add_metric([name], count)
        for name, count in dropped.items():
            lost.add_metric([name], count)
        yield from (lag_bytes, lag_events, quarantined_lines, lost)
        yield GaugeMetricFamily(
            "llm_proxy_ledger_available", "1 while the database takes rows.", value=0 if state.failing else 1
        )
        yield GaugeMetricFamily(
            "llm_proxy_journal_redis_available",
            "1 while Redis takes events, or where there is none.",
            value=0 if state.redis_failing else 1,
        )
        yield CounterMetricFamily(
            "llm_proxy_journal_unshipped",
            "Events that are in the ledger and never went to Redis, which was away for too long.",
            value=state.unshipped,
        )
