"""The limits of a row: the columns, their bounds, and how they depend on each other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from keys.limits.scope import COUNT_LIMITS
from keys.models.usd import MOST_USD, USDField
from keys.models.validators import validate_time_zone

COUNTS = tuple(COUNT_LIMITS)
LIMIT_FIELDS = (*COUNTS, "budget", "period", "soft_threshold", "time_zone")
"""The names of the columns, of the API's fields and, with dashes, of the commands' options."""


LARGEST_INTEGER = 2**31 - 1
"""The largest number in PostgreSQL's `integer`."""


class Period(models.TextChoices):
    """How long a budget lasts. A week begins on Monday. All periods begin at midnight in the budget's time zone."""

    TOTAL = "total"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def count_field(name: str, label: str = "") -> Any:
    """A column for one of `COUNT_LIMITS`. `label`: its name in forms, if its title does not fit there."""
    title, most, _ = COUNT_LIMITS[name]
    field = models.PositiveIntegerField if most <= LARGEST_INTEGER else models.PositiveBigIntegerField
    return field(
        label or title,
        null=True,
        blank=True,
        validators=[
            MinValueValidator(1),
            MaxValueValidator(most, f"At most {most:,}; leave it empty for no limit."),
        ],
        help_text="Blank: no limit.",
    )


def possible_counts() -> Q:
    """The bounds as a database constraint, for rows that are written without the validators."""
    condition = Q()
    for name, count in COUNT_LIMITS.items():
        condition &= Q(**{f"{name}__gte": 1, f"{name}__lte": count.most}) | Q(**{f"{name}__isnull": True})
    return condition


class Limited(models.Model):
    """Limits and a budget. An empty column means no limit."""

    rpm = count_field("rpm")
    tpm = count_field("tpm")
    rps = count_field("rps")
    burst = count_field("burst", "burst")
    parallel = count_field("parallel", "parallel requests")
    daily = count_field("daily")
    max_requests = count_field("max_requests", "requests altogether")
    budget = USDField(
        "budget in USD",
        null=True,
        blank=True,
        db_column="budget_picousd",
        validators=[
            MinValueValidator(0),
            MaxValueValidator(MOST_USD, f"At most {MOST_USD:,} USD; leave it empty for no budget."),
        ],
        help_text="Blank: none. 0 lets nothing through that costs something.",
    )
    period = models.CharField(
        max_length=5, choices=Period.choices, default=Period.TOTAL, help_text="What the budget is for."
    )
    soft_threshold = models.DecimalField(
        max_digits=4,
        decimal_places=3,
        default=Decimal("0.8"),
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="The share of the budget at which an alert is sent, from 0 to 1.",
    )
    time_zone = models.CharField(
        max_length=64,
        blank=True,
        validators=[validate_time_zone],
        help_text="Where days, weeks and months begin, such as Europe/Berlin. Blank: BUDGET_TIME_ZONE.",
    )

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=possible_counts(),
                name="%(class)s_limits_possible",
                violation_error_message="A limit is a whole number from 1 up, within reason, or none.",
            ),
            models.CheckConstraint(
                condition=(Q(budget__isnull=True) | Q(budget__gte=0, budget__lte=MOST_USD))
                & Q(period__in=Period.values)
                & Q(soft_threshold__gte=0, soft_threshold__lte=1),
                name="%(class)s_budget_possible",
                violation_error_message="A budget is an amount from 0 up, within reason, for a period that exists.",
            ),
            models.CheckConstraint(
                condition=Q(burst__isnull=True) | Q(rps__isnull=False),
                name="%(class)s_burst_needs_rps",
                violation_error_message="A burst needs `rps` beside it.",
            ),
        ]

    def clean(self) -> None:
        super().clean()
        if self.burst is not None and self.rps is None:
            raise ValidationError({"burst": "A burst says how many may come at once under `rps`; set `rps` too."})

    @property
    def is_limited(self) -> bool:
        """Whether any limit is set, or a budget."""
        return self.budget is not None or any(getattr(self, name) is not None for name in COUNTS)
