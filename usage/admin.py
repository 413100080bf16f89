"""The ledger in the admin: to be read, and never to be counted to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from usage.audit.admin import AuditEntryAdmin
from usage.bodies.record import RequestBodies
from usage.models import RequestRecord
from usage.paginator import MOST_COUNTED, CappedPaginator
from usage.prices.admin import PriceOverrideAdmin

__all__ = ["AuditEntryAdmin", "PriceOverrideAdmin", "RequestRecordAdmin"]

if TYPE_CHECKING:
    RecordAdmin = admin.ModelAdmin[RequestRecord]
else:
    RecordAdmin = admin.ModelAdmin


SAID = "What was said"
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
    """Offers the providers of the newest requests: a DISTINCT over the ledger would read all of it."""

    title = "provider"
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = RequestRecord.objects.order_by("-pk").values_list("provider", flat=True)[:MOST_COUNTED]
        return [(name, name) for name in sorted(set(newest) - {""})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(provider=self.value()) if self.value() else queryset


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
        "cost_usd",
        "duration_ms",
    )
    list_display_links = ("id",)
    list_filter = ("outcome", StatusFilter, ProviderFilter, "stream", "created_at")
    list_select_related = False  # see usage/api.py
    list_per_page = 50
    paginator = CappedPaginator
    show_full_result_count = False
    sortable_by = ()
    search_fields = ("id",)  # shows the box; see get_search_results
    search_help_text = "A request's id, correlation id or response id, or how a model's name begins."
    fieldsets = (
        (None, {"fields": ("id", "created_at", "correlation_id", "response_id")}),
        ("Who", {"fields": ("key", "project", "user", "ip", "tags")}),
        ("What", {"fields": ("method", "endpoint", "model", "model_served", "stream", "provider", "credential")}),
        (SAID, {"fields": BODIES, "classes": ("collapse",)}),
        ("How it ended", {"fields": ("status_code", "outcome", "error", "cache", "attempts")}),
        (
            "What it took",
            {
                "fields": (
                    ("prompt_tokens", "completion_tokens"),
                    ("cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_tokens"),
                    ("usage_source", "cost_usd", "price_source"),
                    ("ttft_ms", "duration_ms", "upstream_ms"),
                    ("request_bytes", "response_bytes"),
                )
            },
        ),
    )

    def get_fieldsets(self, request: HttpRequest, obj: RequestRecord | None = None) -> Any:
        """Without the part of what was said, where nothing of it is kept."""
        if obj is not None and self._bodies_of(obj) is not None:
            return self.fieldsets
        return tuple(part for part in self.fieldsets if part[0] != SAID)

    def get_readonly_fields(self, request: HttpRequest, obj: RequestRecord | None = None) -> Any:
        return BODIES

    @admin.display(description="request")
    def request_body(self, record: RequestRecord) -> str:
        return self._shown(record, "request")

    @admin.display(description="answer")
    def answer_body(self, record: RequestRecord) -> str:
        return self._shown(record, "answer")

    def _bodies_of(self, record: RequestRecord) -> RequestBodies | None:
        """Read once for a page, and kept with its record."""
        if not hasattr(record, "its_bodies"):
            record.its_bodies = RequestBodies.objects.filter(pk=record.pk).first()  # type: ignore[attr-defined]
        found: RequestBodies | None = record.its_bodies  # type: ignore[attr-defined]
        return found

    def _shown(self, record: RequestRecord, name: str) -> str:
        bodies = self._bodies_of(record)
        if bodies is None:
            return ""
        told = bodies.told(name)
        note = " ".join(part for part in (told["content_type"], told["encoding"], told["note"]) if part)
        return format_html('{}<pre style="max-height: 40em; overflow: auto">{}</pre>', note, told["body"])

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RequestRecord], search_term: str
    ) -> tuple[QuerySet[RequestRecord], bool]:
        """The first question that finds something, those first that an index answers; all in one OR would use none."""
        if not search_term:
            return queryset, False
        for question in (
            Q(pk=search_term),
            ~Q(response_id="") & Q(response_id=search_term),
            Q(correlation_id=search_term),
        ):
            found = queryset.filter(question)
            if found.exists():
                return found, False
        return queryset.filter(model__startswith=search_term), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[RequestRecord]:
        return super().get_queryset(request).prefetch_related("key", "project")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: RequestRecord | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: RequestRecord | None = None) -> bool:
        return False
