"""Alerts in the admin, read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from shown.columns import dollars
from shown.money import about
from usage.alerts.alert import Alert, AlertDelivery
from usage.ledger.paginator import CappedPaginator

if TYPE_CHECKING:
    AnyAlertAdmin = admin.ModelAdmin[Alert]
    AnyInline = admin.TabularInline[AlertDelivery, Alert]
else:
    AnyAlertAdmin, AnyInline = admin.ModelAdmin, admin.TabularInline


MONEY = (dollars("spent_usd", "spent", about), dollars("limit_usd", "limit"), dollars("budget_usd", "budget"))


class DeliveryInline(AnyInline):
    model = AlertDelivery
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        return request.user.has_perm("usage.view_alert")


@admin.register(Alert)
class AlertAdmin(AnyAlertAdmin):
    list_display = ("created_at", "level", "kind", "name", *MONEY, "period", "channels")
    list_filter = ("level", "kind", "period", "created_at")
    list_per_page = 50
    paginator = CappedPaginator
    show_full_result_count = False
    sortable_by = ()
    search_fields = ("name__startswith", "=ident")
    search_help_text = "A scope's id, or how its name begins."
    fields = (
        "created_at", "level", "kind", "ident", "name", "user", *MONEY, "period",
        "period_start", "period_end",
    )  # fmt: skip
    readonly_fields = (*MONEY, "period_start", "period_end")
    inlines = (DeliveryInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alert]:
        return super().get_queryset(request).prefetch_related("deliveries", "user")

    @admin.display(description="told by")
    def channels(self, alert: Alert) -> str:
        return ", ".join(
            delivery.channel
            if delivery.sent_at
            else f"{delivery.channel} ({'waits' if delivery.next_try_at else 'not'})"
            for delivery in alert.deliveries.all()
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        return False
