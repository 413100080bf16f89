"""The metrics: their names, help, labels and buckets, and how sums become Prometheus' metric families."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from strict.units import PICO
from usage.telemetry.counting.numbers import Numbers

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
SPEED_BUCKETS = (1, 2.5, 5, 10, 25, 50, 75, 100, 150, 250, 500, 1000, 2500)
MICRO = 1e6


class Counted(NamedTuple):
    """A counter. Its sum is kept as a whole number and divided by `scale` for Prometheus."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    scale: float = 1


class Measured(NamedTuple):
    name: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = LATENCY_BUCKETS


REQUESTS = Counted(
    "llm_proxy_requests", "Requests that ended.", ("method", "endpoint", "model", "provider", "status_code")
)
TOKENS = Counted(
    "llm_proxy_tokens", "Tokens, by the provider's count or estimated.", ("model", "provider", "token_type")
)
KEY_REQUESTS = Counted("llm_proxy_key_requests", "Requests that a virtual key was served.", ("key",))
KEY_TOKENS = Counted("llm_proxy_key_tokens", "Tokens of a virtual key.", ("key", "token_type"))
KEY_COST = Counted(
    "llm_proxy_key_cost", "US dollars that a virtual key cost; what is not known adds 0.", ("key",), PICO
)
REFUSED_KEYS = Counted("llm_proxy_key_validation_failures", "Requests refused for their key.", ("reason",))
CACHE_HITS = Counted("llm_proxy_cache_hits", "Answers from the cache.")
CACHE_MISSES = Counted("llm_proxy_cache_misses", "Requests that the cache had no answer for.")
CACHE_BYPASSES = Counted("llm_proxy_cache_bypass", "Requests that the cache was not asked about.")
SAVED_TOKENS = Counted("llm_proxy_cache_saved_tokens", "Tokens of answers from the cache.")
SAVED_COST = Counted(
    "llm_proxy_cache_saved_cost",
    "US dollars that answers from the cache would have cost; what is not known adds 0.",
    scale=PICO,
)
EMBEDDING_HITS = Counted("embedding_cache_hits", "Embeddings requests answered from the cache.")
EMBEDDING_MISSES = Counted("embedding_cache_misses", "Embeddings requests that the cache had no answer for.")

DURATION = Measured(
    "llm_proxy_request_duration_seconds", "From the request's head to the answer's end.", ("endpoint", "provider")
)
TTFT = Measured("llm_proxy_ttft_seconds", "From the request's head to the answer's first byte.", ("model", "provider"))
SPEED = Measured(
    "llm_proxy_tokens_per_second",
    "Tokens of a whole answer by the time that they took: a stream's from its first byte on, else the provider's.",
    ("model", "provider"),
    SPEED_BUCKETS,
)
EMBEDDING_COMPUTE = Measured(
    "embedding_compute_duration_seconds", "What providers took for embeddings.", ("model", "provider")
)

CACHE = {"HIT": CACHE_HITS, "JOINED": CACHE_HITS, "MISS": CACHE_MISSES, "BYPASS": CACHE_BYPASSES}
EMBEDDING_CACHE = {"HIT": EMBEDDING_HITS, "JOINED": EMBEDDING_HITS, "MISS": EMBEDDING_MISSES}

COUNTED = (
    REQUESTS,
    TOKENS,
    KEY_REQUESTS,
    KEY_TOKENS,
    KEY_COST,
    REFUSED_KEYS,
    CACHE_HITS,
    CACHE_MISSES,
    CACHE_BYPASSES,
    SAVED_TOKENS,
    SAVED_COST,
    EMBEDDING_HITS,
    EMBEDDING_MISSES,
)
MEASURED = (DURATION, TTFT, SPEED, EMBEDDING_COMPUTE)


def families(numbers: Numbers) -> Iterator[Metric]:
    """Yield the sums as Prometheus' metric families."""
    yield GaugeMetricFamily("llm_proxy_active_requests", "Requests under way.", value=numbers.active)
    if numbers.limiter_up is not None:
        yield GaugeMetricFamily(
            "llm_proxy_limiter_shared",
            "1 while Redis decides about limits for every worker, 0 when a worker decides alone.",
            value=int(numbers.limiter_up),
        )
    counters = {
        counted.name: CounterMetricFamily(counted.name, counted.help, labels=counted.labels) for counted in COUNTED
    }
    for counted in COUNTED:
        if not counted.labels:
            numbers.counters.setdefault((counted.name,), 0)
    yield from loop_families(numbers)
    scales = {counted.name: counted.scale for counted in COUNTED}
    for (name, *labels), value in numbers.counters.items():
        if name in counters:
            counters[name].add_metric(labels, value / scales[name])
    yield from counters.values()
    histograms = {
        measured.name: HistogramMetricFamily(measured.name, measured.help, labels=measured.labels)
        for measured in MEASURED
    }
    bounds = {measured.name: [*map(floatToGoString, measured.buckets), "+Inf"] for measured in MEASURED}
    for (name, *labels), measure in numbers.measures.items():
        if name in histograms:
            below = 0
            buckets = []
            for bound, count in zip(bounds[name], measure.buckets, strict=True):
                below += count
                buckets.append((bound, below))
            histograms[name].add_metric(labels, buckets, measure.total / MICRO)
    yield from histograms.values()


def loop_families(numbers: Numbers) -> Iterator[Metric]:
    failures = CounterMetricFamily(
        "llm_proxy_loop_failures", "Failures of what goes on in the background; it begins anew.", labels=["loop"]
    )
    up = GaugeMetricFamily(
        "llm_proxy_loop_up", "1 while a loop in the background goes on in every process that has it.", labels=["loop"]
    )
    for name, count in numbers.loop_failures.items():
        failures.add_metric([name], count)
    for name, is_up in numbers.loops_up.items():
        up.add_metric([name], int(is_up))
    yield from (failures, up)
