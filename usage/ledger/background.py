"""Responses in the background, from the request that made them until their cost is settled.

A row is written together with the request that made the response, and deleted in the transaction that writes its cost.
So nothing is lost if a process dies, and another process continues to poll.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import msgspec
from django.db import models

from usage.event import RequestEvent

ALIVE_S = 120
"""Seconds. If a process has not renewed its rows for so long it is taken for dead, and another one takes them over."""

NOBODY = "nobody"
"""The holder of a response for which no process had room."""


class BackgroundResponse(models.Model):
    """A response that is not settled. `event` is the event of the request that made it."""

    request_id = models.CharField(max_length=40, primary_key=True)
    response_id = models.CharField(max_length=128)
    made_at = models.DateTimeField()
    holder = models.CharField(max_length=32, help_text="The process that asks its provider for it.")
    alive_until = models.DateTimeField()
    event = models.JSONField()

    class Meta:
        verbose_name = "response in the background"
        indexes: ClassVar = [models.Index(fields=["alive_until"], name="background_by_life")]

    def __str__(self) -> str:
        return self.response_id


def note_background(events: Iterable[RequestEvent]) -> None:
    """Add a row for each response that begins, and delete the rows of those that are settled.

    The events are taken in the order of their ids, which is the order in which a process made them.
    """
    for event in sorted(events, key=lambda event: event.id):
        if event.holder:
            made_at = datetime.fromtimestamp(event.at, UTC)
            alive_until = made_at if event.holder == NOBODY else made_at + timedelta(seconds=ALIVE_S)
            BackgroundResponse.objects.bulk_create(
                [
                    BackgroundResponse(
                        request_id=event.id,
                        response_id=event.response_id,
                        made_at=made_at,
                        holder=event.holder,
                        alive_until=alive_until,
                        event=msgspec.to_builtins(event),
                    )
                ],
                ignore_conflicts=True,
            )
        if event.settles:
            BackgroundResponse.objects.filter(pk=event.settles).delete()


def stay_alive(holder: str, now: datetime) -> None:
    BackgroundResponse.objects.filter(holder=holder).update(alive_until=now + timedelta(seconds=ALIVE_S))


def let_go(holder: str, now: datetime) -> None:
    """Release the rows of a process that ends, so that others may take them over at once."""
    BackgroundResponse.objects.filter(holder=holder).update(alive_until=now)


def take_over(holder: str, now: datetime, most: int) -> Sequence[RequestEvent]:
    """Take over up to `most` responses that no process polls any more, and return their events.

    Each is taken by one process only.
    """
    events = []
    for row in BackgroundResponse.objects.filter(alive_until__lt=now).order_by("made_at")[:most]:
        ours = {"holder": holder, "alive_until": now + timedelta(seconds=ALIVE_S)}
        if BackgroundResponse.objects.filter(pk=row.pk, holder=row.holder, alive_until=row.alive_until).update(**ours):
            events.append(msgspec.convert(row.event, RequestEvent))
    return events
