"""Metrics for Prometheus. The worker that is asked adds up those of all workers exactly (`counting.shared`)."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from django.conf import settings
from prometheus_client import CollectorRegistry, Counter, generate_latest, multiprocess
from prometheus_client.core import Metric
from prometheus_client.registry import REGISTRY, Collector

from usage.dispatch.metrics import DispatchCollector
from usage.event import RequestEvent
from usage.journal.lag import JournalCollector
from usage.loops import LOOPS, State, read_states
from usage.telemetry.counting.labels import Labels
from usage.telemetry.counting.numbers import Numbers
from usage.telemetry.counting.series import families
from usage.telemetry.counting.shared import Worker, others
from usage.telemetry.counting.tally import Counting

log = logging.getLogger("sluice.metrics")

MULTIPROC = "PROMETHEUS_MULTIPROC_DIR"
"""The directory of the workers' numbers. `manage.py serve` sets it if there are several workers."""

MODELS_LABELLED = 200
"""The most names of models that get their own label. Clients choose these names, so a bound is needed."""
PROVIDERS_LABELLED = 200
KEYS_LABELLED = 1000
REST_AFTER_PUBLISHING = 50
"""After it published its sums, a worker waits for so many times the CPU time that this took. So even a hundred thousand
sums take at most a fiftieth of a CPU."""

_dropped = Counter("llm_proxy_journal_events_dropped", "Events lost because the disk did not take them.")


class RequestMetrics:
    """Counts requests. `began` and `ended` run on the event loop, once for each request.

    Counting costs more than checking a key and reading JSON, so the event loop only appends events to a deque. Another
    thread counts them several times a second, and whenever this process is asked for its metrics.
    """

    def __init__(self, limiter_up: Callable[[], bool] | None = None) -> None:
        """`limiter_up` returns whether Redis decides about limits. Raises `OSError`."""
        directory = Path(os.environ[MULTIPROC]) if MULTIPROC in os.environ else None
        self._directory = directory
        self._worker = Worker(directory) if directory is not None else None
        self._limiter_up = limiter_up
        self._ended: deque[tuple[RequestEvent, int]] = deque()
        self._numbers = Numbers()
        self._counted = 0
        """The position in the worker's ring up to which its events are in the numbers."""
        self._events = 0
        self._published: tuple[object, ...] | None = None
        self._active = 0
        self._rest_until = 0.0
        self._lock = threading.Lock()
        self._counting = Counting(
            Labels("models", MODELS_LABELLED, directory),
            Labels("providers", PROVIDERS_LABELLED, directory),
            Labels("keys", KEYS_LABELLED, directory),
        )
        reporting.append(self)

    def began(self) -> None:
        self._active += 1

    def ended(self, event: RequestEvent, document: bytes) -> None:
        """`document` is the event as JSON."""
        self._active -= 1
        self._ended.append((event, self._worker.append(document, self._active) if self._worker is not None else 0))

    def dropped(self, events: int) -> None:
        _dropped.inc(events)

    def hand_over(self, *, last: bool = False) -> None:
        """Count the requests that have ended, and publish the sums to the other workers. May run in any thread."""
        with self._lock:
            self._count()
            if last or time.monotonic() >= self._rest_until:
                self._tell()

    def _tell(self) -> None:
        numbers = self._numbers
        loops = tuple(numbers.loop_failures.items()), tuple(numbers.loops_up.items())
        state = numbers.active, numbers.limiter_up, self._events, loops
        if self._worker is None or state == self._published:
            return
        began = time.thread_time()  # CPU time: a pause is not longer because other processes are busy
        try:
            self._worker.publish(self._counted, self._numbers, lambda: self._active)
        except OSError as error:
            log.warning("What was counted cannot be told to the other workers: %s", error.strerror)
        else:
            self._published = state
        self._rest_until = time.monotonic() + (time.thread_time() - began) * REST_AFTER_PUBLISHING

    def _count(self) -> None:
        """Count the events in the deque. It is all that is shared with the event loop, so no event is missed."""
        fresh = [self._ended.popleft() for _ in range(len(self._ended))]
        self._numbers.active = self._active
        self._numbers.limiter_up = self._limiter_up() if self._limiter_up is not None else None
        self._numbers.loop_failures, self._numbers.loops_up = loop_numbers(LOOPS.states())
        if fresh:
            self._counting.count((event for event, _ in fresh), self._numbers)
            self._counted = fresh[-1][1]
            self._events += len(fresh)

    def everybody(self) -> Numbers:
        """Return the numbers of all workers. Raises `OSError`."""
        with self._lock:
            self._count()
            self._tell()  # first, as a worker that is asked next must not know less: it would look like a restart
            whole = Numbers()
            whole.add(self._numbers)
            if self._directory is not None and self._worker is not None:
                for worker in others(self._directory, self._worker.ring):
                    whole.add(worker.numbers, alive=worker.alive)
                    self._counting.count(worker.uncounted, whole)
        return whole


reporting: list[RequestMetrics] = []
"""The object that counts in this process. If a test makes several, the last one is used."""


def loop_numbers(states: Mapping[str, State]) -> tuple[dict[str, int], dict[str, bool]]:
    now = time.time()
    failures = {name: state.failures for name, state in states.items()}
    return failures, {name: state.is_up(now) for name, state in states.items()}


class RequestCollector(Collector):
    """Collects the numbers of this worker and the others."""

    def collect(self) -> Iterator[Metric]:
        for metrics in reporting[-1:]:
            numbers = metrics.everybody()
            # The loops of the ledger process are read from its file.
            failures, up = loop_numbers(read_states(settings.JOURNAL_DIR))
            numbers.add(Numbers(loop_failures=failures, loops_up=up))
            yield from families(numbers)


class LibraryCollector(Collector):
    """Collects what Django and libraries count with prometheus_client, from the files of all workers."""

    def collect(self) -> Iterator[Metric]:
        # A file that a worker has just created is empty, and prometheus_client cannot read it.
        files = [path for path in os.scandir(os.environ[MULTIPROC]) if path.name.endswith(".db") and size_of(path)]
        yield from multiprocess.MultiProcessCollector.merge([path.path for path in files])  # type: ignore[no-untyped-call]


def size_of(path: os.DirEntry[str]) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # the worker is gone


def exposition(*more: Collector) -> bytes:
    """Return the metrics of all workers, and those of more collectors, in Prometheus' text format."""
    registry = CollectorRegistry()
    journal = JournalCollector(settings.JOURNAL_DIR)
    dispatchers = [target.name for target in settings.DISPATCHERS]
    dispatch = DispatchCollector(settings.DISPATCH_DIR, settings.JOURNAL_DIR, dispatchers)
    for collector in (RequestCollector(), journal, dispatch, *more):
        registry.register(collector)
    if MULTIPROC not in os.environ:
        return generate_latest(REGISTRY) + generate_latest(registry)
    registry.register(LibraryCollector())
    return generate_latest(registry)
