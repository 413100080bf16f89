"""The ledger in the admin: read-only, and never counted to its end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from shown.columns import dollars
from shown.money import about
from shown.words import moment
from usage.bodies.record import RequestBodies
from usage.ids import time_of
from usage.ledger.paginator import MOST_COUNTED, CappedPaginator, LedgerPaginator
from usage.ledger.search import MEANS, search
from usage.ledger.walk import FIRST_TIMEOUT_MS, Slow, ended_after
from usage.records import RequestQuerySet, RequestRecord

if TYPE_CHECKING:
    RecordAdmin = admin.ModelAdmin[RequestRecord]
else:
    RecordAdmin = admin.ModelAdmin


BODIES_TITLE = "What was said"
BODIES = ("request_body", "answer_body")


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"
    ranges = {  # noqa: RUF012 - a constant
        "2xx": (200, 299),
        "4xx": (400, 499),
        "429": (429, 429),
        "499": (499, 499),
        "5xx": (500, 599),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in self.ranges]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.ranges.get(self.value() or "")
        return queryset.filter(status_code__range=chosen) if chosen else queryset


class ProviderFilter(admin.SimpleListFilter):
    """Offers the providers of the newest requests, because a DISTINCT over the ledger would read all of it."""

    title = "provider"
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        with ended_after(FIRST_TIMEOUT_MS):
            newest = set(RequestRecord.objects.order_by("-pk").values_list("provider", flat=True)[:MOST_COUNTED])
        return [(name, name) for name in sorted(newest - {""})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(provider=self.value()) if self.value() else queryset


class MomentFilter(admin.DateFieldListFilter):
    """Filters by time. It compares ids instead of `created_at`, because the ledger is in the order of ids."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        assert isinstance(queryset, RequestQuerySet)
        try:
            since, until = (self._moment(name) for name in (self.lookup_kwarg_since, self.lookup_kwarg_until))
            return queryset.between(since, until)
        except (ValidationError, OverflowError) as error:
            raise IncorrectLookupParameters(error) from None

    def _moment(self, name: str) -> datetime | None:
        values: Any = self.used_parameters.get(name)
        if not values:
            return None
        moment: datetime = self.field.to_python(values[-1])
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class LedgerChangeList(ChangeList):
    """Shows the paginator's page. If a list fits one page, Django would run the query itself, without a time limit."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = self.paginator.page(self.page_num if self.multi_page else 1).object_list


@admin.register(RequestRecord)
class RequestRecordAdmin(RecordAdmin):
    list_display = (
        "created_at",
        "id",
        "key",
        "project",
        "endpoint",
        "model",
        "provider",
        "status_code",
        "outcome",
        "stream",
        "prompt_tokens",
        "completion_tokens",
        dollars("cost_usd", "cost", about),
        "duration_ms",
    )
    list_display_links = ("id",)
    list_filter = ("outcome", StatusFilter, ProviderFilter, "stream", ("created_at", MomentFilter))
    list_select_related = False  # see usage/ledger/api.py
    list_per_page = 50
    list_max_show_all = 0
    paginator = LedgerPaginator
    show_facets = admin.ShowFacets.NEVER  # they count
    show_full_result_count = False
    sortable_by = ()
    search_fields = ("id",)  # shows the box; see get_search_results
    search_help_text = MEANS
    fieldsets = (
        (None, {"fields": ("id", "created_at", "correlation_id", "response_id")}),
        ("Who", {"fields": ("key", "project", "user", "ip", "tags")}),
        ("What", {"fields": ("method", "endpoint", "model", "model_served", "stream", "provider", "credential")}),
        (BODIES_TITLE, {"fields": BODIES, "classes": ("collapse",)}),
        ("How it ended", {"fields": ("status_code", "outcome", "error", "cache", "attempts")}),
        (
            "What it took",
            {
                "fields": (
                    ("prompt_tokens", "completion_tokens"),
                    ("cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_tokens"),
                    ("usage_source", "cost", "price_source"),
                    ("saved_tokens", "saved"),
                    ("ttft_ms", "duration_ms", "upstream_ms"),
                    ("request_bytes", "response_bytes"),
                )
            },
        ),
    )

    def get_fieldsets(self, request: HttpRequest, obj: RequestRecord | None = None) -> Any:
        """Leave out the captured bodies if none are kept."""
        if obj is not None and self._bodies_of(obj) is not None:
            return self.fieldsets
        return tuple(part for part in self.fieldsets if part[0] != BODIES_TITLE)

    def get_readonly_fields(self, request: HttpRequest, obj: RequestRecord | None = None) -> Any:
        return (*BODIES, "cost", "saved")

    cost = staticmethod(dollars("cost_usd", "cost"))
    saved = staticmethod(dollars("saved_usd", "saved"))

    @admin.display(description="request")
    def request_body(self, record: RequestRecord) -> str:
        return self._shown(record, "request")

    @admin.display(description="answer")
    def answer_body(self, record: RequestRecord) -> str:
        return self._shown(record, "answer")

    def _bodies_of(self, record: RequestRecord) -> RequestBodies | None:
        """Read the bodies once for a page, and keep them with the record."""
        if not hasattr(record, "its_bodies"):
            record.its_bodies = RequestBodies.objects.filter(pk=record.pk).first()  # type: ignore[attr-defined]
        bodies: RequestBodies | None = record.its_bodies  # type: ignore[attr-defined]
        return bodies

    def _shown(self, record: RequestRecord, name: str) -> str:
        bodies = self._bodies_of(record)
        if bodies is None:
            return ""
        body = bodies.render(name)
        note = " ".join(part for part in (body["content_type"], body["encoding"], body["note"]) if part)
        return format_html('{}<pre style="max-height: 40em; overflow: auto">{}</pre>', note, body["body"])

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RequestRecord], search_term: str
    ) -> tuple[QuerySet[RequestRecord], bool]:
        assert isinstance(queryset, RequestQuerySet)
        return (search(queryset, search_term) if search_term else queryset), False

    def get_paginator(self, request: HttpRequest, queryset: QuerySet[Any], per_page: int, *more: Any) -> Any:
        """Use `LedgerPaginator` for the ledger alone: the page of a row's history lists Django's log entries."""
        kind = LedgerPaginator if isinstance(queryset, RequestQuerySet) else CappedPaginator
        return kind(queryset, per_page, *more)

    def get_queryset(self, request: HttpRequest) -> QuerySet[RequestRecord]:
        return super().get_queryset(request).prefetch_related("key", "project")

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return LedgerChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        try:
            response = super().changelist_view(request, extra_context)
        except Slow:
            return HttpResponse(
                "The database did not answer in time. Try again, or narrow the list by time.", status=503
            )
        changes: Any = (getattr(response, "context_data", None) or {}).get("cl")
        reached = time_of(changes.paginator.edge or "") if changes else None
        if reached:
            further = changes.get_query_string({"created_at__lt": reached.isoformat(" "), "p": None})
            text = 'This looked back to {}, and then its time was over. <a href="{}">Look further back</a>'
            messages.info(request, format_html(text, moment(reached), further))
        return response

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: RequestRecord | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: RequestRecord | None = None) -> bool:
        return False
