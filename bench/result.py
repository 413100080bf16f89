"""Results of benchmarks: each is one line, with the value that is wanted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass
class Result:
    """One measured value. With `samples` it is their median."""

    bench: str
    measure: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    samples: list[float] = field(default_factory=list)

    @property
    def is_met(self) -> bool | None:
        """Whether the value is as wanted; None if nothing is wanted."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.is_met}


def middle(bench: str, measure: str, samples: list[float], unit: str, **wanted: float) -> Result:
    return Result(bench, measure, median(samples), unit, samples=samples, **wanted)


def slow(bench: str, measure: str, samples: list[float], **wanted: float) -> Result:
    """The 95th percentile of `samples`, in milliseconds, with the median in its name."""
    ordered = sorted(samples)
    p50, p95 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, round(0.95 * len(ordered)) - 1)]
    return Result(bench, f"{measure}: p95 (p50 {p50:.0f})", p95, "ms", samples=samples, **wanted)


def table(results: list[Result]) -> str:
    rows = [("", "", "measured", "spread", "wanted", "")]
    for result in results:
        name = result.bench if rows[-1][0] != result.bench else ""
        spread = f"{shown(min(result.samples))} to {shown(max(result.samples))}" if len(result.samples) > 1 else ""
        wanted = ""
        if result.at_least is not None:
            wanted = f">= {shown(result.at_least)}"
        elif result.at_most is not None:
            wanted = f"<= {shown(result.at_most)}"
        verdict = {None: "", True: "yes", False: "NO"}[result.is_met]
        rows.append(
            (name or result.bench, result.measure, f"{shown(result.value)} {result.unit}", spread, wanted, verdict)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines, last = [], ""
    for row in rows:
        name = "" if row[0] == last else row[0]
        last = row[0]
        cells = [name.ljust(widths[0]), row[1].ljust(widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def shown(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
