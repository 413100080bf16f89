"""Rows that are read, changed and written as one."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import Http404
from rest_framework.exceptions import NotFound

from strict.queries import StrictView

MOST_SHOWN = 64
"""Characters of a name that is none."""

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Resource(StrictView):
    """A mix-in for viewsets, before DRF's own class: a row that a request is going to change is locked as it is read,
    so that of two changes the later one knows the earlier, and what is deleted stays so.

    The request is one transaction (`config/middleware.py`). SQLite has one writer at a time, and locks no rows.
    """

    noun: ClassVar[str]
    """What people call one row."""

    def get_object(self: Any) -> Any:
        try:
            return super().get_object()  # type: ignore[misc]
        except Http404:
            named = str(self.kwargs[self.lookup_url_kwarg or self.lookup_field])[:MOST_SHOWN]
            raise NotFound(f"There is no {self.noun} {named!r}.") from None

    def get_queryset(self: Any) -> Any:
        rows = super().get_queryset()  # type: ignore[misc]
        method = self.request.method if self.request is not None else "GET"
        if method in READING:
            return rows
        # Minting a key looks at its project, and need not wait for a change of it: for its deletion alone.
        return rows.select_for_update(of=("self",), no_key=method != "DELETE")
