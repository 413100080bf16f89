"""Limits of the whole gateway."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models, transaction

from keys.models.announcing import announced
from keys.models.changing import Changing
from keys.models.limited import Limited

ONLY = 1


@announced
class GlobalLimits(Limited, Changing):
    """What all requests together may use. There is at most one row; no row means no limits."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY, editable=False)

    class Meta:
        verbose_name = verbose_name_plural = "global limits"
        constraints: ClassVar = [
            *Limited.Meta.constraints,
            models.CheckConstraint(condition=models.Q(id=ONLY), name="global_limits_are_one_row"),
        ]

    def __str__(self) -> str:
        return "global limits"

    @classmethod
    def current(cls) -> GlobalLimits:
        return cls.objects.filter(pk=ONLY).first() or cls(pk=ONLY)

    @transaction.atomic
    def change(self, **fields: Any) -> None:
        row, _ = GlobalLimits.objects.select_for_update(no_key=True).get_or_create(pk=ONLY)
        super(GlobalLimits, row).change(**fields)
        self.refresh_from_db()
