"""Pages of big tables in the admin."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet

from usage.ledger.walk import WalkResult, walk
from usage.records import RequestQuerySet, RequestRecord

MOST_COUNTED = 10_000
"""The most rows that a page counts, offers to page through, and searches for the choices of a filter."""

if TYPE_CHECKING:
    RowPaginator = Paginator[Any]
else:
    RowPaginator = Paginator


class CappedPaginator(RowPaginator):
    """Counts up to `MOST_COUNTED` rows. To reach others, people use the filters."""

    @cached_property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)
        return self.object_list.order_by().values("pk")[:MOST_COUNTED].count()


class LedgerPaginator(CappedPaginator):
    """Searches the ledger with `walk`, which is bounded in time, and pages through what it found."""

    @cached_property
    def result(self) -> WalkResult:
        assert isinstance(self.object_list, RequestQuerySet)
        records = self.object_list.prefetch_related(None).values_list("pk", flat=True)
        return walk(records, MOST_COUNTED)  # type: ignore[arg-type]

    @property
    def edge(self) -> str | None:
        """The id at which the search stopped; None if it has seen all rows, or found enough."""
        return self.result.edge if self.count < MOST_COUNTED else None

    @cached_property
    def count(self) -> int:
        return len(self.result.rows)

    def page(self, number: int | str) -> Page[Any]:
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        shown = self.result.rows[first : first + self.per_page]
        lookups = self.object_list._prefetch_related_lookups  # type: ignore[attr-defined]
        records = RequestRecord.objects.filter(pk__in=shown).order_by("-pk").prefetch_related(*lookups)
        return Page(records, number, self)
