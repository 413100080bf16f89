"""The models of alerts and of their deliveries."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar

from django.db import models

from usage.prices.price import usd


class Level(models.TextChoices):
    """What was reached: a share of the budget, or the whole budget, after which requests are refused."""

    THRESHOLD = "threshold", "soft threshold"
    BUDGET = "budget", "budget"


class Alert(models.Model):
    """A scope's spend reached an amount in a period. There is one row for each, however often it was found.

    The amount is part of the unique key. So if a budget is changed, there is a new alert when the new amount is
    reached. The name is the scope's name at that time; the scope may have been deleted since.
    """

    created_at = models.DateTimeField(db_index=True)
    level = models.CharField(max_length=9, choices=Level.choices)
    kind = models.CharField("scope", max_length=8, help_text="`key`, `user`, `team`, `project` or `global`.")
    ident = models.CharField("scope id", max_length=40)
    name = models.CharField(max_length=200)
    user = models.ForeignKey(
        "auth.User", null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False,
        help_text="The key's owner, or the user whose budget it is.",
    )  # fmt: skip
    period = models.CharField(max_length=5)
    since = models.BigIntegerField(help_text="When the period began, in Unix seconds; 0: with the first request.")
    until = models.BigIntegerField(null=True, help_text="When it ends; null: never.")
    budget_picousd = models.BigIntegerField()
    limit_picousd = models.BigIntegerField(help_text="The amount that was reached.")
    spent_picousd = models.BigIntegerField(help_text="When it was noticed.")

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "ident", "level", "period", "since", "limit_picousd"],
                name="one_alert_for_each_crossing",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["user", "-id"], condition=models.Q(user__isnull=False), name="alert_by_user"),
        ]

    def __str__(self) -> str:
        return f"{self.get_level_display()} of {self.kind} {self.name}"

    @property
    def budget_usd(self) -> Decimal:
        return usd(self.budget_picousd)

    @property
    def limit_usd(self) -> Decimal:
        return usd(self.limit_picousd)

    @property
    def spent_usd(self) -> Decimal:
        return usd(self.spent_picousd)

    @property
    def period_start(self) -> datetime | None:
        return datetime.fromtimestamp(self.since, UTC) if self.since else None

    @property
    def period_end(self) -> datetime | None:
        return None if self.until is None else datetime.fromtimestamp(self.until, UTC)


class AlertDelivery(models.Model):
    """The delivery of one alert by one channel. `next_try_at` is null after it was sent or given up."""

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=8)
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=200, blank=True, help_text="Why the last attempt failed.")

    class Meta:
        verbose_name_plural = "alert deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["alert", "channel"], name="one_delivery_for_each_channel")
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["next_try_at"], condition=models.Q(next_try_at__isnull=False), name="alert_deliveries_waiting"
            )
        ]

    def __str__(self) -> str:
        return f"{self.alert} by {self.channel}"
