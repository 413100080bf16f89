"""Announces each saved or deleted row, so that every process learns of it."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import models

from keys.changes import changed

M = TypeVar("M", bound=models.Model)


def announce(sender: type[models.Model], instance: models.Model, **_: Any) -> None:
    changed.send(sender=sender, ids=[instance.pk])


def announced(model: type[M]) -> type[M]:
    """Decorator for a model: announce each save and deletion as one change."""
    models.signals.post_save.connect(announce, sender=model)
    models.signals.post_delete.connect(announce, sender=model)
    return model
