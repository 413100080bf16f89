"""The audit log in the admin, read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from usage.audit.entry import AuditEntry
from usage.ledger.paginator import CappedPaginator

if TYPE_CHECKING:
    EntryAdmin = admin.ModelAdmin[AuditEntry]
else:
    EntryAdmin = admin.ModelAdmin


@admin.register(AuditEntry)
class AuditEntryAdmin(EntryAdmin):
    list_display = (
        "created_at", "actor_kind", "actor", "action", "target_kind", "target", "result", "code", "status_code", "ip",
    )  # fmt: skip
    list_filter = ("actor_kind", "action", "result", "target_kind", "created_at")
    list_per_page = 50
    paginator = CappedPaginator
    show_full_result_count = False
    sortable_by = ()
    search_fields = ("=actor", "target__startswith", "=request_id", "=code")
    search_help_text = "An actor, a request's id, a code, or how a target's name begins."

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False
