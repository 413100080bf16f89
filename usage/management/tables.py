"""Rows as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shown.cells import cell


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    lines = [[name.upper() for name in columns], *([cell(name, row[name]) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
