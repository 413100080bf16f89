"""Imports all models of this app, because Django looks for them here."""

from __future__ import annotations

from usage.alerts.alert import Alert, AlertDelivery
from usage.audit.entry import AuditEntry
from usage.bodies.record import RequestBodies
from usage.ledger.background import BackgroundResponse
from usage.ledger.stored import StoredObject
from usage.periodic.state import ScheduledTask, TaskOutcome
from usage.prices.override import PriceOverride
from usage.records import JournalPosition, Outcome, RequestQuerySet, RequestRecord, ScopeTotal
from usage.rollups.state import (
    DayKindRollup,
    DayModelRollup,
    DayRollup,
    HourKindRollup,
    HourModelRollup,
    HourRollup,
    TagSet,
)

__all__ = [
    "Alert",
    "AlertDelivery",
    "AuditEntry",
    "BackgroundResponse",
    "DayKindRollup",
    "DayModelRollup",
    "DayRollup",
    "HourKindRollup",
    "HourModelRollup",
    "HourRollup",
    "JournalPosition",
    "Outcome",
    "PriceOverride",
    "RequestBodies",
    "RequestQuerySet",
    "RequestRecord",
    "ScheduledTask",
    "ScopeTotal",
    "StoredObject",
    "TagSet",
    "TaskOutcome",
]
