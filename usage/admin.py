"""Imports all admin pages of this app, because Django looks for them here."""

from __future__ import annotations

from usage.alerts.admin import AlertAdmin
from usage.audit.admin import AuditEntryAdmin
from usage.ledger.admin import RequestRecordAdmin
from usage.periodic.admin import ScheduledTaskAdmin
from usage.prices.admin import PriceOverrideAdmin

__all__ = ["AlertAdmin", "AuditEntryAdmin", "PriceOverrideAdmin", "RequestRecordAdmin", "ScheduledTaskAdmin"]
