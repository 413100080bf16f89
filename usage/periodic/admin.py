"""The schedule in the admin, read-only: when each task ran, and how it went. `manage.py tasks run` runs one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from usage.periodic.state import ScheduledTask
from usage.periodic.table import schedule

if TYPE_CHECKING:
    TaskAdmin = admin.ModelAdmin[ScheduledTask]
else:
    TaskAdmin = admin.ModelAdmin


@admin.register(ScheduledTask)
class ScheduledTaskAdmin(TaskAdmin):
    list_display = ("name", "outcome", "started_at", "duration_s", "result", "error", "next_run_at", "runner")
    list_filter = ("outcome",)
    sortable_by = ("name", "started_at", "next_run_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ScheduledTask]:
        """Leave out tasks that only an earlier version had."""
        return super().get_queryset(request).filter(pk__in=[periodic.name for periodic in schedule()])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ScheduledTask | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ScheduledTask | None = None) -> bool:
        return False
