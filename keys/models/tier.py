"""Tiers: the plans of accounts, and what they allow."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from keys.models.announcing import announced
from keys.models.changing import Changing

FREE = "free"
MOST_EMBEDDINGS = 1_000_000_000


class Compute(models.TextChoices):
    """What computes embeddings that no cache has."""

    BYOK = "byok", "the account's own provider"
    LOCAL = "local", "this installation's model"


@announced
class Tier(Changing):
    """A plan. `free` and `paid` exist from the start; an account without a choice is on `free`."""

    name = models.CharField(max_length=64, unique=True)
    daily_embeddings = models.PositiveIntegerField(
        "embeddings per day",
        default=1000,
        validators=[
            MinValueValidator(0),
            MaxValueValidator(MOST_EMBEDDINGS, f"At most {MOST_EMBEDDINGS:,} embeddings a day."),
        ],
    )
    compute = models.CharField(max_length=8, choices=Compute.choices, default=Compute.BYOK)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(daily_embeddings__lte=MOST_EMBEDDINGS, compute__in=Compute.values),
                name="tier_possible",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def default(cls) -> Tier:
        """The tier of new accounts. It is created again if it was deleted."""
        return cls.objects.get_or_create(name=FREE)[0]

    @classmethod
    def find(cls, name: str) -> Tier:
        """Raises `Tier.DoesNotExist`."""
        return cls.objects.get(name=name)
