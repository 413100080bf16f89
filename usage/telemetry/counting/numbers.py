"""Sums of counters and histograms, by name and label values."""

from __future__ import annotations

import msgspec

Place = tuple[str, ...]
"""The name of a series, and the values of its labels in order."""


class Measure(msgspec.Struct, array_like=True, gc=False):
    """A histogram: the sum of the observations in millionths, and the count of each bucket alone (not cumulative).

    The sum is a whole number. A sum of floats would depend on the order, which is different in every worker.
    """

    total: int
    buckets: list[int]

    def add(self, total: int, buckets: list[int]) -> None:
        self.total += total
        self.buckets = [one + other for one, other in zip(self.buckets, buckets, strict=True)]


class Numbers(msgspec.Struct):
    """The numbers of one worker, or of all. `active`, `limiter_up` and `loops_up` are gauges: the present values."""

    active: int = 0
    limiter_up: bool | None = None
    """Whether Redis decides about limits; None without Redis."""
    counters: dict[Place, int] = {}
    measures: dict[Place, Measure] = {}
    loop_failures: dict[str, int] = {}
    loops_up: dict[str, bool] = {}

    def count(self, place: Place, amount: int) -> None:
        self.counters[place] = self.counters.get(place, 0) + amount

    def measure(self, place: Place, total: int, buckets: list[int]) -> None:
        existing = self.measures.get(place)
        if existing is None:
            self.measures[place] = Measure(total, list(buckets))
        else:
            existing.add(total, buckets)

    def add(self, other: Numbers, *, alive: bool = True) -> None:
        """Add another worker's numbers. The gauges of a dead worker are left out."""
        if alive:
            self.active += other.active
            if other.limiter_up is not None:
                self.limiter_up = other.limiter_up and self.limiter_up is not False
            for name, is_up in other.loops_up.items():
                self.loops_up[name] = is_up and self.loops_up.get(name, True)
        for name, failures in other.loop_failures.items():
            self.loop_failures[name] = self.loop_failures.get(name, 0) + failures
        for place, amount in other.counters.items():
            self.count(place, amount)
        for place, measure in other.measures.items():
            self.measure(place, measure.total, measure.buckets)
