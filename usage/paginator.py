"""Pages of big tables in the admin."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db.models import QuerySet

MOST_COUNTED = 10_000
"""Rows that a page counts, looks for filters' choices in, and lets one leaf through."""

if TYPE_CHECKING:
    RowPaginator = Paginator[Any]
else:
    RowPaginator = Paginator


class CappedPaginator(RowPaginator):
    """Counts up to `MOST_COUNTED` rows and leaves the rest to the filters."""

    @cached_property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)
        return self.object_list.order_by().values("pk")[:MOST_COUNTED].count()
