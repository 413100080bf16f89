"""The numbers for Prometheus. Exact over several workers: each process keeps its own in shared files, and whoever is
asked adds all of them up (prometheus_client's multiprocess mode, which `manage.py serve` switches on)."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import deque
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from django.conf import settings
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.registry import REGISTRY

from usage.dispatch.metrics import DispatchCollector
from usage.event import RequestEvent
from usage.journal.lag import JournalCollector

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
MODELS_LABELLED = 200
"""Names of models that get a label of their own; clients choose these names, so their number is bounded."""

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
OTHER = "other"

_requests = Counter(
    "llm_proxy_requests", "Requests that ended.", ["method", "endpoint", "model", "provider", "status_code"]
)
_duration = Histogram(
    "llm_proxy_request_duration_seconds",
    "From the request's head to the answer's end.",
    ["endpoint", "provider"],
    buckets=LATENCY_BUCKETS,
)
_ttft = Histogram(
    "llm_proxy_ttft_seconds",
    "From the request's head to the answer's first byte.",
    ["model", "provider"],
    buckets=LATENCY_BUCKETS,
)
_active = Gauge("llm_proxy_active_requests", "Requests under way.", multiprocess_mode="livesum")
_tokens = Counter(
    "llm_proxy_tokens", "Tokens, by the provider's count or estimated.", ["model", "provider", "token_type"]
)
_key_requests = Counter("llm_proxy_key_requests", "Requests that a virtual key was served.", ["key"])
_key_tokens = Counter("llm_proxy_key_tokens", "Tokens of a virtual key.", ["key", "token_type"])
_refused_keys = Counter("llm_proxy_key_validation_failures", "Requests refused for their key.", ["reason"])
_dropped = Counter("llm_proxy_journal_events_dropped", "Events lost because the disk did not take them.")

KEYS_LABELLED = 1000


class Tally:
    """What happened since the last hand-over to requests of one kind: plain numbers, cheap to count."""

    __slots__ = ("buckets", "completion_tokens", "prompt_tokens", "requests", "seconds", "ttft_buckets", "ttft_seconds")

    def __init__(self) -> None:
        self.requests = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(LATENCY_BUCKETS) + 1)
        self.ttft_seconds = 0.0
        self.ttft_buckets = [0] * (len(LATENCY_BUCKETS) + 1)
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def count(self, event: RequestEvent) -> None:
        seconds = event.duration_ms / 1000
        self.requests += 1
        self.seconds += seconds
        self.buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        if event.ttft_ms is not None:
            seconds = event.ttft_ms / 1000
            self.ttft_seconds += seconds
            self.ttft_buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        self.prompt_tokens += event.prompt_tokens or 0
        self.completion_tokens += event.completion_tokens or 0


Kind = tuple[str, str, str, str, int, int | None, str]
"""Method, endpoint, model, provider, status, key, refusal."""


class RequestMetrics:
    """Counts requests. `began` and `ended` run on the event loop, once a request.

    prometheus_client takes a lock for every number of every metric, which for one request adds up to more than its key
    check and its JSON. So the loop only hangs the events up here. Several times a second, and whenever this process is
    asked for its metrics, they are counted in plain numbers by another thread, and these handed over.
    """

    def __init__(self) -> None:
        self._ended: deque[RequestEvent] = deque()
        self._models: set[str] = set()
        self._keys: set[int] = set()
        self._active = 0
        self._lock = threading.Lock()
        reporting.append(self)

    def began(self) -> None:
        self._active += 1

    def ended(self, event: RequestEvent) -> None:
        self._active -= 1
        self._ended.append(event)

    def dropped(self, events: int) -> None:
        _dropped.inc(events)

    def hand_over(self) -> None:
        """Give what was counted to prometheus_client. From any thread."""
        with self._lock:
            tallies = self._tallied()
            _active.set(self._active)
            for (method, endpoint, named, provider, status, key_id, refusal), tally in tallies.items():
                model = named if provider else ""
                known_method = method if method in METHODS else OTHER
                _child(_requests, known_method, endpoint, model, provider, str(status)).inc(tally.requests)
                _add(_child(_duration, endpoint, provider), tally.seconds, tally.buckets)
                _add(_child(_ttft, model, provider), tally.ttft_seconds, tally.ttft_buckets)
                if refusal and status == HTTPStatus.UNAUTHORIZED:
                    _child(_refused_keys, refusal).inc(tally.requests)
                key = self._key_label(key_id)
                if key and not refusal:
                    _child(_key_requests, key).inc(tally.requests)
                for token_type, tokens in (("prompt", tally.prompt_tokens), ("completion", tally.completion_tokens)):
                    if tokens:
                        _child(_tokens, model, provider, token_type).inc(tokens)
                        if key:
                            _child(_key_tokens, key, token_type).inc(tokens)

    def _tallied(self) -> dict[Kind, Tally]:
        """What has ended since the last time. Only a deque is shared with the event loop, so nothing slips between."""
        tallies: dict[Kind, Tally] = {}
        while self._ended:
            event = self._ended.popleft()
            refusal = event.error if event.outcome == "refused" else ""
            model = self._label(event.model)
            kind = (event.method, event.endpoint, model, event.provider, event.status, event.key, refusal)
            tally = tallies.get(kind)
            if tally is None:
                tally = tallies[kind] = Tally()
            tally.count(event)
        return tallies

    def _label(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) < MODELS_LABELLED:
            self._models.add(model)
            return model
        return OTHER

    def _key_label(self, key_id: int | None) -> str:
        if key_id is None:
            return ""
        if key_id not in self._keys:
            if len(self._keys) >= KEYS_LABELLED:
                return OTHER
            self._keys.add(key_id)
        return str(key_id)


reporting: list[RequestMetrics] = []
"""The counts of this process that `exposition` hands over first."""


def _add(histogram: Any, total: float, counts: list[int]) -> None:
    """Add many observations at once, which `Histogram.observe` cannot: it goes by single ones."""
    if not any(counts):
        return
    histogram._sum.inc(total)
    for bucket, count in zip(histogram._buckets, counts, strict=True):
        if count:
            bucket.inc(count)


@lru_cache(maxsize=16_384)
def _child(metric: Any, *labels: str) -> Any:
    """`metric.labels()` takes a lock and builds a tuple of strings each time."""
    return metric.labels(*labels)


def exposition() -> bytes:
    """All numbers of all workers, in Prometheus' text format."""
    for metrics in reporting:
        metrics.hand_over()
    journal = CollectorRegistry()
    journal.register(JournalCollector(settings.JOURNAL_DIR))
    dispatchers = [target.name for target in settings.DISPATCHERS]
    journal.register(DispatchCollector(settings.DISPATCH_DIR, settings.JOURNAL_DIR, dispatchers))
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY) + generate_latest(journal)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + generate_latest(journal)
