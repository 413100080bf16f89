"""Mark a scope's total as unseen if its budget is changed: the new budget may be reached although the total is not.

Models are recognized by name, because this app does not import the app that has the budgets.
"""

from __future__ import annotations

from typing import Any

from django.db import models

from usage.ledger.totals import EVER
from usage.records import ScopeTotal

KINDS = {
    "keys.virtualkey": "key",
    "keys.account": "user",
    "keys.team": "team",
    "keys.project": "project",
    "keys.globallimits": "global",
}


def connect() -> None:
    models.signals.post_save.connect(mark, dispatch_uid="usage.alerts")


def mark(sender: type[models.Model], instance: models.Model, raw: bool = False, **_: Any) -> None:
    kind = KINDS.get(sender._meta.label_lower)
    if kind is None or raw or getattr(instance, "budget", None) is None or sender.__module__ == "__fake__":
        return
    ScopeTotal.objects.filter(kind=kind, ident=str(instance.pk), slot=EVER).update(unseen=True)
