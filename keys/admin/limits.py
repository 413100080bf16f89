"""What the admin's pages of everything with limits share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property

from keys.limits.scope import COUNT_LIMITS
from keys.models import COUNTS, Limited
from keys.spending import spending_of
from shown.money import about, exact, share
from shown.words import moment

MOST_COUNTED = 10_000

LIMIT_FIELDSETS: Any = (
    (
        "Limits",
        {"fields": (COUNTS[:2], COUNTS[2:4], COUNTS[4:])},
    ),
    ("Budget", {"fields": (("budget", "period"), ("soft_threshold", "time_zone"), "spending")}),
)


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts up to `MOST_COUNTED` rows; filters find the others. A search for a few rows may have to read the whole
    table, so it is read once, for the count and the page.
    """

    @cached_property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)
        ids = list(self.object_list.order_by().values_list("pk", flat=True)[:MOST_COUNTED])
        if len(ids) < MOST_COUNTED:
            self.object_list = self.object_list.filter(pk__in=ids)
        return len(ids)


class PaginatedList(ChangeList):
    """Takes its rows from the paginator even if they fit one page. Django queries the database again in this case."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.multi_page:
            self.result_list = self.paginator.page(1).object_list


class InUseShown:
    """A mix-in for `ModelAdmin`: if keys prevent a deletion, the page says so, not that a permission is missing."""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)  # type: ignore[misc]
        return deleted, counts, set() if protected else lacking, protected


class SpendingShown:
    """A mix-in for `ModelAdmin` with `spending`, what is spent of the budget.

    It asks the ledger, so lists do not use it.
    """

    @admin.display(description="spent")
    def spending(self, row: Any) -> str:
        spending = spending_of([row], timezone.now()).get(row.pk) if row.pk else None
        if spending is None:
            return "no budget"
        until = f", whole again at {moment(spending.resets_at)}" if spending.resets_at else ""
        return f"{about(spending.spent)} of {exact(row.budget)} ({share(spending.percent_of(row.budget))}){until}"

    @admin.display(description="limits")
    def limits_shown(self, row: Limited) -> str:
        return ", ".join(_written(row)) or "none"


def _written(row: Limited) -> Iterable[str]:
    for name, count in COUNT_LIMITS.items():
        if count.unit and (limit := getattr(row, name)) is not None:
            yield f"{limit:,} {count.unit}"
    if row.budget is not None:
        yield f"{exact(row.budget)} {'altogether' if row.period == 'total' else 'a ' + row.period}"
