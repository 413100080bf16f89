"""Entries for refused requests of the data plane. The process that writes the ledger makes them from events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import DatabaseError

from usage.audit.bound import bound, now
from usage.audit.entry import ActorKind, AuditEntry, Result
from usage.audit.keep import keep_if_possible
from usage.event import RequestEvent

STATUSES = frozenset({400, 401, 403, 404, 405, 413, 415, 429})


def audit_refusals(events: Iterable[RequestEvent]) -> None:
    """Write an entry for each refused request, up to the bound. Does not raise if the database is away."""
    if not settings.AUDIT_ENABLED:
        return
    moment, most = now(), settings.AUDIT_REFUSALS_PER_SECOND
    listed = [
        event
        for event in events
        if event.outcome == "refused" and event.status in STATUSES and bound.lets_pass(event.error, most, moment)
    ]
    summary = bound.summary(moment)
    if listed or summary:
        masks = masks_of(listed)
        keep_if_possible([*summary, *(entry_of(event, masks) for event in listed)])


def entry_of(event: RequestEvent, masks: dict[int, str]) -> AuditEntry:
    kind, actor = ActorKind.ANONYMOUS.value, ""
    if event.key is not None:
        kind, actor = ActorKind.KEY.value, masks.get(event.key, f"key {event.key}")
    return AuditEntry(
        created_at=datetime.fromtimestamp(event.at, UTC),
        actor_kind=kind,
        actor=actor,
        action="request",
        target_kind="project" if event.project is not None else "",
        target_id=str(event.project) if event.project is not None else "",
        target=f"{event.method} {event.path}"[:200],
        result=Result.REFUSED,
        code=event.error[:64],
        status_code=event.status,
        ip=event.ip,
        request_id=event.id,
        changes={"model": event.model} if event.model else {},
    )


def masks_of(events: Sequence[RequestEvent]) -> dict[int, str]:
    """Return the names and masks of the events' keys, with one query."""
    ids = {event.key for event in events if event.key is not None}
    virtual_key: Any = apps.get_model("keys", "VirtualKey")
    try:
        return (
            {key.pk: f"{key.name} ({key.mask})"[:200] for key in virtual_key.objects.filter(pk__in=ids)} if ids else {}
        )
    except DatabaseError:
        return {}
