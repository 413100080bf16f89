"""Responses that go on without their client, until somebody has settled what they cost.

A row is written with the request that made the response, and goes in the transaction that writes what it cost. So
whichever process dies, nothing is lost, and another process goes on asking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import msgspec
from django.db import models

from usage.event import RequestEvent

ALIVE_S = 120
"""A process that has not said for so long that it still asks is gone, and another one takes over."""

NOBODY = "nobody"
"""As a holder: no process had room for it."""


class BackgroundResponse(models.Model):
    """One that is not settled. `event` is the request's that made it."""

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
    """Write those that begin, and take away those that are settled. In order of ids, as the events of a process are."""
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
    """The process ends; others may ask at once."""
    BackgroundResponse.objects.filter(holder=holder).update(alive_until=now)


def take_over(holder: str, now: datetime, most: int) -> Sequence[RequestEvent]:
    """What nobody asks for any more is asked for by this process from now on. Each is taken by one process alone."""
    events = []
    for row in BackgroundResponse.objects.filter(alive_until__lt=now).order_by("made_at")[:most]:
        ours = {"holder": holder, "alive_until": now + timedelta(seconds=ALIVE_S)}
        if BackgroundResponse.objects.filter(pk=row.pk, holder=row.holder, alive_until=row.alive_until).update(**ours):
            events.append(msgspec.convert(row.event, RequestEvent))
    return events
