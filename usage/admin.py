"""All pages of this app's admin, where Django looks for them."""

from __future__ import annotations

from usage.alerts.admin import AlertAdmin
from usage.audit.admin import AuditEntryAdmin
from usage.ledger.admin import RequestRecordAdmin
from usage.periodic.admin import ScheduledTaskAdmin
from usage.prices.admin import PriceOverrideAdmin

__all__ = ["AlertAdmin", "AuditEntryAdmin", "PriceOverrideAdmin", "RequestRecordAdmin", "ScheduledTaskAdmin"]
