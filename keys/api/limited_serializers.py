"""The base of serializers for rows with limits and a budget."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from keys.models import LIMIT_FIELDS, Limited
from keys.spending import Spending, spending_of
from shown.money import machine
from strict.members import Strict

L = TypeVar("L", bound=Limited)

SPENDING_FIELDS = ("spent", "remaining", "resets_at")

Spent = serializers.DecimalField(max_digits=22, decimal_places=12, allow_null=True, help_text="Null: no budget.")


class LimitedSerializer(Strict, serializers.ModelSerializer[L]):
    """The settings of `Limited`, and what is spent of the budget. Money is in USD, as text."""

    soft_threshold = serializers.DecimalField(
        max_digits=4,
        decimal_places=3,
        min_value=Decimal(0),
        max_value=Decimal(1),
        required=False,
        normalize_output=True,
        help_text="The share of the budget at which an alert is sent, from 0 to 1.",
    )
    spent = serializers.SerializerMethodField(help_text="In USD in this period. Null: there is no budget.")
    remaining = serializers.SerializerMethodField(help_text="In USD, never below 0. Null: there is no budget.")
    resets_at = serializers.SerializerMethodField(help_text="When the period ends. Null: never.")

    limit_fields: ClassVar = (*LIMIT_FIELDS, *SPENDING_FIELDS)
    moving = Strict.moving | frozenset(SPENDING_FIELDS)

    @extend_schema_field(Spent)
    def get_spent(self, row: L) -> str | None:
        return machine(spending.spent) if (spending := self._spending.get(row.pk)) else None

    @extend_schema_field(Spent)
    def get_remaining(self, row: L) -> str | None:
        return machine(spending.remaining) if (spending := self._spending.get(row.pk)) else None

    def get_resets_at(self, row: L) -> datetime | None:
        return spending.resets_at if (spending := self._spending.get(row.pk)) else None

    @cached_property
    def _spending(self) -> dict[int, Spending]:
        """Spending by primary key.

        A list has one serializer for all rows, so the ledger is asked once for each answer.
        """
        shown: Any = self.parent.instance if isinstance(self.parent, serializers.ListSerializer) else [self.instance]
        return spending_of(shown, timezone.now())

    def create(self, validated_data: dict[str, Any]) -> L:
        model: Any = self.Meta.model
        row: L = model(**validated_data)
        row.full_clean()
        row.save(force_insert=True)
        return row

    def update(self, instance: L, validated_data: dict[str, Any]) -> L:
        changing: Any = instance
        changing.change(**validated_data)
        return instance
