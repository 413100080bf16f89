"""The numbers for Prometheus, exact over several workers: whoever is asked adds all of them up (`counting.shared`)."""

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
"""Set by `manage.py serve` where there are several workers: where their numbers are."""

MODELS_LABELLED = 200
"""Names of models that get a label of their own; clients choose these names, so their number is bounded."""
PROVIDERS_LABELLED = 200
KEYS_LABELLED = 1000
REST_AFTER_PUBLISHING = 50
"""Times the processor's time that telling the sums takes: a hundred thousand of them may cost a fiftieth of it."""

_dropped = Counter("llm_proxy_journal_events_dropped", "Events lost because the disk did not take them.")


class RequestMetrics:
    """Counts requests. `began` and `ended` run on the event loop, once a request.

    Counting costs more than a request's key check and its JSON, so the loop only hangs the events up here. Several
    times a second, and whenever this process is asked for its metrics, another thread counts them.
    """

    def __init__(self, limiter_up: Callable[[], bool] | None = None) -> None:
        """`limiter_up` tells whether Redis decides about limits. Raises `OSError`."""
        directory = Path(os.environ[MULTIPROC]) if MULTIPROC in os.environ else None
        self._directory = directory
        self._worker = Worker(directory) if directory is not None else None
        self._limiter_up = limiter_up
        self._ended: deque[tuple[RequestEvent, int]] = deque()
        self._numbers = Numbers()
        self._counted = 0
        """How far in the worker's ring the numbers are."""
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
        """Count what has ended, and tell the other workers. From any thread."""
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
        began = time.thread_time()  # the processor's: where it is busy with others, nobody has to rest for that
        try:
            self._worker.publish(self._counted, self._numbers, lambda: self._active)
        except OSError as error:
            log.warning("What was counted cannot be told to the other workers: %s", error.strerror)
        else:
            self._published = state
        self._rest_until = time.monotonic() + (time.thread_time() - began) * REST_AFTER_PUBLISHING

    def _count(self) -> None:
        """Only a deque is shared with the event loop, so nothing slips between."""
        fresh = [self._ended.popleft() for _ in range(len(self._ended))]
        self._numbers.active = self._active
        self._numbers.limiter_up = self._limiter_up() if self._limiter_up is not None else None
        self._numbers.loop_failures, self._numbers.loops_up = loop_numbers(LOOPS.states())
        if fresh:
            self._counting.count((event for event, _ in fresh), self._numbers)
            self._counted = fresh[-1][1]
            self._events += len(fresh)

    def everybody(self) -> Numbers:
        """What all workers counted. Raises `OSError`."""
        with self._lock:
            self._count()
            self._tell()  # first: whoever is asked next must not know less, or Prometheus takes it for a restart
            whole = Numbers()
            whole.add(self._numbers)
            if self._directory is not None and self._worker is not None:
                for worker in others(self._directory, self._worker.ring):
                    whole.add(worker.numbers, alive=worker.alive)
                    self._counting.count(worker.uncounted, whole)
        return whole


reporting: list[RequestMetrics] = []
"""Who counts in this process: the last one, when a test makes several."""


def loop_numbers(states: Mapping[str, State]) -> tuple[dict[str, int], dict[str, bool]]:
    now = time.time()
    failures = {name: state.failures for name, state in states.items()}
    return failures, {name: state.is_up(now) for name, state in states.items()}


class RequestCollector(Collector):
    """What `reporting` counted, and the other workers."""

    def collect(self) -> Iterator[Metric]:
        for metrics in reporting[-1:]:
            numbers = metrics.everybody()
            # Those of the process that writes the ledger.
            failures, up = loop_numbers(read_states(settings.JOURNAL_DIR))
            numbers.add(Numbers(loop_failures=failures, loops_up=up))
            yield from families(numbers)


class LibraryCollector(Collector):
    """What Django and the libraries count by prometheus_client, in its files of all workers."""

    def collect(self) -> Iterator[Metric]:
        # One that a worker has just begun is empty, which prometheus_client cannot read.
        files = [path for path in os.scandir(os.environ[MULTIPROC]) if path.name.endswith(".db") and size_of(path)]
        yield from multiprocess.MultiProcessCollector.merge([path.path for path in files])  # type: ignore[no-untyped-call]


def size_of(path: os.DirEntry[str]) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # of a worker that is gone


def exposition(*more: Collector) -> bytes:
    """All numbers of all workers, and what others collect, in Prometheus' text format."""
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
