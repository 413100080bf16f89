"""Stored answers and purges in the admin. Answers can be looked at and purged; nothing can be changed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join

from cache.frames import body_of, frames_of
from cache.models import CachedResponse, CachePurge
from cache.purge import live, purge
from cache.serializers import entry_of
from shown.asking import MOST_NAMED, Question, ask, is_answered, selection
from shown.bodies import readable
from shown.words import counted

if TYPE_CHECKING:
    AnswerAdmin = admin.ModelAdmin[CachedResponse]
    PurgeAdmin = admin.ModelAdmin[CachePurge]
    RowPaginator = Paginator[Any]
else:
    AnswerAdmin = PurgeAdmin = admin.ModelAdmin
    RowPaginator = Paginator

SHOWN_BYTES, SHOWN_FRAMES = 64 * 1024, 500
MOST_CHOSEN = 1000
"""Answers that are purged one by one."""


MOST_COUNTED = 10_000
"""The most rows that a page counts, offers to page through, and searches for the choices of a filter."""


class CappedPaginator(RowPaginator):
    @cached_property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)
        return self.object_list.order_by().values("pk")[:MOST_COUNTED].count()


class OfTheNewest(admin.SimpleListFilter):
    """Offers what the newest answers have, because a DISTINCT would read all of them."""

    column: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = CachedResponse.objects.order_by("-created_at").values_list(self.column, flat=True)[:MOST_COUNTED]
        return [(str(value), str(value)) for value in sorted(set(newest) - {None})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        try:
            return queryset.filter(**{self.column: value})
        except ValueError:
            return queryset.none()


class EndpointFilter(OfTheNewest):
    title, parameter_name, column = "endpoint", "path", "path"


class ProjectFilter(OfTheNewest):
    title, parameter_name, column = "project", "project", "project_id"


class ReadOnly:
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(CachedResponse)
class CachedResponseAdmin(ReadOnly, AnswerAdmin):
    list_display = (
        *("created_at", "short_key", "project_id", "path", "model", "stream"),
        *("size", "hit_count", "last_hit_at", "expires_at"),
    )
    list_filter = (EndpointFilter, ProjectFilter, "stream", "created_at")
    list_per_page = 50
    list_max_show_all = 0
    paginator = CappedPaginator
    show_facets = admin.ShowFacets.NEVER  # they count
    show_full_result_count = False
    sortable_by = ()
    ordering = ("-created_at", "-name")
    search_fields = ("name__startswith", "=request_id", "=response_id", "model__startswith")
    search_help_text = "A cache key, the id of a request or response, or how the model's name begins."
    actions = ("purge_selected", "purge_everything")
    fields = (
        *("name", "created_at", "expires_at", "project_id", "path", "model"),
        *("provider_id", "served_model", "request_id", "response_id"),
        *("size", "hit_count", "last_hit_at", "answer"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[CachedResponse]:
        return live().defer("packed").order_by(*self.ordering)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields

    def has_purge_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("cache.add_cachepurge"))

    @admin.display(description="cache key", ordering="name")
    def short_key(self, row: CachedResponse) -> str:
        return f"{row.cache_key[:12]}…"

    @admin.display(description="answer")
    def answer(self, row: CachedResponse) -> str:
        """Its frames with their times, or its body."""
        entry = entry_of(row)
        if entry is None:
            return "Another version of Sluice wrote it."
        if not entry.is_stream:
            body = body_of(entry)
            is_cut = len(body) > SHOWN_BYTES
            shown = readable(body[:SHOWN_BYTES], is_cut=is_cut)["body"]
            if is_cut:
                shown += "\n… There is more of it in /api/responses."
            return format_html('<pre style="max-height: 40em; overflow: auto">{}</pre>', shown)
        lines = []
        for frame in frames_of(entry):
            if frame.ordinal > SHOWN_FRAMES:
                lines.append(("", "", "Further frames are in /api/responses."))
                break
            lines.append((f"{frame.at_s:.3f} s", frame.event, frame.data[:4096]))
        return format_html(
            '<pre style="max-height: 40em; overflow: auto">{}</pre>', format_html_join("\n", "{}  {} {}", lines)
        )

    @admin.action(description="Purge selected answers", permissions=["purge"])
    def purge_selected(self, request: HttpRequest, rows: QuerySet[CachedResponse]) -> HttpResponse | None:
        keys = sorted({name[:-1] for name in rows.order_by().values_list("name", flat=True)[: MOST_CHOSEN + 1]})
        if len(keys) > MOST_CHOSEN:
            text = f"These are more than {MOST_CHOSEN:,}. Purge everything, or use manage.py cache purge."
            self.message_user(request, text, messages.ERROR)
            return None
        for key in keys:
            purge(cache_key=key)
        self.message_user(request, f"Purged {counted(len(keys), 'answer')}.", messages.SUCCESS)
        return None

    @admin.action(description="Purge everything", permissions=["purge"])
    def purge_everything(self, request: HttpRequest, rows: QuerySet[CachedResponse]) -> HttpResponse | None:
        about = ("purge_everything",)
        if is_answered(request, about):
            _, entries = purge()
            self.message_user(request, f"Purged everything: {counted(entries, 'answer')}.", messages.SUCCESS)
            return None
        newest = live().order_by(*self.ordering)[:MOST_NAMED]
        question = Question(
            title="Purge all stored answers?",
            consequence="Providers are asked again for all of them. Answers that are on their way are not stored.",
            columns=("cache key", "model", "hits"),
            rows=[(f"{row.cache_key[:12]}…", row.model, f"{row.hit_count:,}") for row in newest],
            yes="Yes, purge everything",
            back=request.get_full_path(),
            about=about,
            hidden=selection(request, "purge_everything"),
        )
        return ask(self, request, question)


@admin.register(CachePurge)
class CachePurgeAdmin(ReadOnly, PurgeAdmin):
    list_display = ("id", "created_at", "cache_key", "project_id", "path", "model", "is_done")
    list_per_page = 50
    show_full_result_count = False
    sortable_by = ()
    ordering = ("-id",)
