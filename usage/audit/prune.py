"""Delete old entries of the audit log. Nothing else can delete entries."""

from __future__ import annotations

from datetime import datetime

from django.db import connection, transaction
from django.db.models import Max

from usage.audit.acting import operating_user
from usage.audit.entry import ActorKind, AuditEntry
from usage.audit.guard import TABLE, lifted
from usage.audit.keep import keep


def prune(before: datetime) -> int:
    """Delete the entries from before a moment, and add one that says so. Return how many were deleted."""
    with transaction.atomic():
        last = AuditEntry.objects.filter(created_at__lt=before).aggregate(last=Max("pk"))["last"]
        if last is None:
            return 0
        with lifted(connection), connection.cursor() as cursor:
            moment = connection.ops.adapt_datetimefield_value(before)
            cursor.execute(f"DELETE FROM {TABLE} WHERE id <= %s AND created_at < %s", [last, moment])  # noqa: S608
            deleted: int = cursor.rowcount
        keep(
            [
                AuditEntry(
                    actor_kind=ActorKind.CLI,
                    actor=operating_user(),
                    action="prune",
                    target_kind="auditentry",
                    changes={"before": before.isoformat(), "deleted": deleted},
                )
            ]
        )
    return deleted
