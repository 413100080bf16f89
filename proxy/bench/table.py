"""A measurement as a table for people."""

from __future__ import annotations

from typing import Any


def table(report: dict[str, Any]) -> str:
    """Lines of `what  through  direct  added`; the last two are blank if nothing was compared."""
    through, direct, added = report["through"], report["direct"], report["overhead"] or {}
    rows = [["", report["url"], report["direct_url"] or "", "added" if direct else ""]]

    def row(name: str, *path: str, unit: str = "", extra: str = "") -> None:
        rows.append([name, _shown(through, path, unit), _shown(direct, path, unit), extra])

    row("requests", "requests")
    row("failed", "failed")
    ratio = added.get("requests_per_second_ratio")
    row("requests/s", "requests_per_second", extra=f"x {ratio:.3f}" if ratio else "")
    for percent in ("p50", "p90", "p99", "max"):
        extra = _signed(added, "latency_ms", percent)
        row(f"latency {percent}", "latency_ms", percent, unit=" ms", extra=extra)
    if report["stream"]:
        for percent in ("p50", "p90", "p99"):
            extra = _signed(added, "first_token_ms", percent)
            row(f"first token {percent}", "first_token_ms", percent, unit=" ms", extra=extra)
        ratio = added.get("chunks_per_second_ratio")
        row("chunks/s", "chunks_per_second", extra=f"x {ratio:.3f}" if ratio else "")
    widths = [max(len(line[column]) for line in rows) for column in range(4)]
    lines = ["  ".join([line[0].ljust(widths[0]), *_right(line[1:], widths[1:])]).rstrip() for line in rows]
    for name, side in (("", through), (" direct", direct)):
        lines += [f"{count} x{name} {error}" for error, count in (side or {}).get("errors", {}).items()]
    return "\n".join(lines)


def _shown(side: dict[str, Any] | None, path: tuple[str, ...], unit: str) -> str:
    value: Any = side
    for name in path:
        value = value[name] if value else None
    if value is None:
        return "-" if side else ""
    return f"{value:,.2f}{unit}" if isinstance(value, float) else f"{value:,}{unit}"


def _signed(added: dict[str, Any], name: str, percent: str) -> str:
    differences = added.get(name) or {}
    return f"{differences[percent]:+.2f} ms" if percent in differences else ""


def _right(cells: list[str], widths: list[int]) -> list[str]:
    return [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
