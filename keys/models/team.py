"""Teams: people who share limits and a budget."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from keys.models.announcing import announced
from keys.models.changing import Changing
from keys.models.limited import Limited


@announced
class Team(Limited, Changing):
    """Its limits apply to the keys that name it. Its members may mint keys that name it."""

    name = models.CharField(max_length=100, unique=True)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="teams")
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [*Limited.Meta.constraints]

    def __str__(self) -> str:
        return self.name
