"""Rows that are read, changed and written as one."""

from __future__ import annotations

from typing import Any

from strict.queries import StrictView

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Resource(StrictView):
    """A mix-in for viewsets, before DRF's own class: a row that a request is going to change is locked as it is read,
    so that of two changes the later one knows the earlier, and what is deleted stays so.

    The request is one transaction (`config/middleware.py`). SQLite has one writer at a time, and locks no rows.
    """

    def get_queryset(self: Any) -> Any:
        rows = super().get_queryset()  # type: ignore[misc]
        method = self.request.method if self.request is not None else "GET"
        if method in READING:
            return rows
        # Minting a key looks at its project, and need not wait for a change of it: for its deletion alone.
        return rows.select_for_update(of=("self",), no_key=method != "DELETE")
