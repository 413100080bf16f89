"""The numbers for Prometheus. Exact over several workers: each process keeps its own in shared files, and whoever is
asked adds all of them up (prometheus_client's multiprocess mode, which `manage.py serve` switches on)."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.registry import REGISTRY

from usage.event import RequestEvent

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
    "llm_proxy_ttft_seconds", "From the request's head to the answer's first byte.", ["model", "provider"], buckets=LATENCY_BUCKETS
)
_active = Gauge("llm_proxy_active_requests", "Requests under way.", multiprocess_mode="livesum")
_tokens = Counter("llm_proxy_tokens", "Tokens, by the provider's count or estimated.", ["model", "provider", "token_type"])
_key_requests = Counter("llm_proxy_key_requests", "Requests that a virtual key was served.", ["key"])
_key_tokens = Counter("llm_proxy_key_tokens", "Tokens of a virtual key.", ["key", "token_type"])
_refused_keys = Counter("llm_proxy_key_validation_failures", "Requests refused for their key.", ["reason"])
_dropped = Counter("llm_proxy_ledger_rows_dropped", "Rows lost because the database did not take them in time.")

KEYS_LABELLED = 1000


class RequestMetrics:
    """Counts requests. Its methods run on the event loop, once or twice a request."""

    def __init__(self) -> None:
        self._models: set[str] = set()
        self._keys: set[int] = set()

    def began(self) -> None:
        _active.inc()

    def ended(self, event: RequestEvent, *, key_refusal: str = "") -> None:
        _active.dec()
        model = self._label(event.model) if event.provider else ""
        method = event.method if event.method in METHODS else OTHER
        _child(_requests, method, event.endpoint, model, event.provider, str(event.status)).inc()
        _child(_duration, event.endpoint, event.provider).observe(event.duration_ms / 1000)
        if event.ttft_ms is not None:
            _child(_ttft, model, event.provider).observe(event.ttft_ms / 1000)
        if key_refusal:
            _child(_refused_keys, key_refusal).inc()
        key = self._key_label(event.key_id)
        if key and event.outcome != "refused":
            _child(_key_requests, key).inc()
        for token_type, tokens in (("prompt", event.prompt_tokens), ("completion", event.completion_tokens)):
            if tokens:
                _child(_tokens, model, event.provider, token_type).inc(tokens)
                if key:
                    _child(_key_tokens, key, token_type).inc(tokens)

    def dropped(self, rows: int) -> None:
        _dropped.inc(rows)

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


@lru_cache(maxsize=16_384)
def _child(metric: Any, *labels: str) -> Any:
    """`metric.labels()` takes a lock and builds a tuple of strings each time."""
    return metric.labels(*labels)


def exposition() -> bytes:
    """All numbers of all workers, in Prometheus' text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
