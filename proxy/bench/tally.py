"""What a measurement has counted, and its summary."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any


class Tally:
    """Filled as requests end. `add` combines rounds."""

    def __init__(self) -> None:
        self.latencies_s = array("d")
        """Of complete answers alone, because a refusal is quick and would improve the result."""
        self.first_bytes_s = array("d")
        """Until the first byte of a stream's body, which is its first frame."""
        self.frames = 0
        self.body_bytes = 0
        self.errors: Counter[str] = Counter()
        self.seconds = 0.0

    @property
    def requests(self) -> int:
        return len(self.latencies_s) + self.failed

    @property
    def failed(self) -> int:
        return self.errors.total()

    def add(self, other: Tally) -> None:
        self.latencies_s.extend(other.latencies_s)
        self.first_bytes_s.extend(other.first_bytes_s)
        self.frames += other.frames
        self.body_bytes += other.body_bytes
        self.errors += other.errors
        self.seconds += other.seconds

    def summary(self) -> dict[str, Any]:
        seconds = self.seconds or float("inf")
        streamed = bool(self.first_bytes_s)
        return {
            "requests": self.requests,
            "failed": self.failed,
            "errors": dict(self.errors.most_common()),
            "seconds": round(self.seconds, 6),
            "requests_per_second": round(len(self.latencies_s) / seconds, 2),
            "latency_ms": spread(self.latencies_s),
            "first_token_ms": spread(self.first_bytes_s) if streamed else None,
            "chunks": self.frames if streamed else None,
            "chunks_per_second": round(self.frames / seconds, 1) if streamed else None,
            "body_bytes": self.body_bytes,
        }


def spread(seconds: array[float]) -> dict[str, float] | None:
    """Percentiles in milliseconds; None if there are no values."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return {
        "p50": _ms(percentile(ordered, 50)),
        "p90": _ms(percentile(ordered, 90)),
        "p99": _ms(percentile(ordered, 99)),
        "max": _ms(ordered[-1]),
        "mean": _ms(sum(ordered) / len(ordered)),
    }


def percentile(ordered: list[float], percent: float) -> float:
    """The value that `percent` of the sorted values do not exceed (nearest rank)."""
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def overhead(through: dict[str, Any], direct: dict[str, Any]) -> dict[str, Any] | None:
    """What the gateway adds; None if one of the two has no answers."""
    if not through["latency_ms"] or not direct["latency_ms"]:
        return None
    ratios: dict[str, Any] = {
        "requests_per_second_ratio": round(through["requests_per_second"] / direct["requests_per_second"], 4),
        "latency_ms": _differences(through["latency_ms"], direct["latency_ms"]),
        "latency_p50_ratio": round(through["latency_ms"]["p50"] / max(direct["latency_ms"]["p50"], 1e-6), 3),
        "first_token_ms": None,
        "chunks_per_second_ratio": None,
    }
    if through["first_token_ms"] and direct["first_token_ms"]:
        ratios["first_token_ms"] = _differences(through["first_token_ms"], direct["first_token_ms"])
        ratios["chunks_per_second_ratio"] = round(
            through["chunks_per_second"] / max(direct["chunks_per_second"], 1e-6), 4
        )
    return ratios


def _differences(through: dict[str, float], direct: dict[str, float]) -> dict[str, float]:
    return {name: round(through[name] - direct[name], 4) for name in ("p50", "p90", "p99")}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 4)
