"""Columns for money."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import models

from strict.units import PICO

MICRO = Decimal("0.000001")

MOST_USD = 9_000_000
"""A signed 64-bit integer holds 9.22 million dollars in picodollars."""

if TYPE_CHECKING:
    AnyDecimalField = models.DecimalField[Any, Any]
else:
    AnyDecimalField = models.DecimalField


class USDField(AnyDecimalField):
    """Dollars: a `Decimal` with six places in Python, a 64-bit number of picodollars in the database.

    The column of `DecimalField` is not used, because SQLite stores it as a floating-point number: sums and comparisons
    are wrong in the last places. Integers are exact in every database, and spending is counted in them.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "max_digits": 13, "decimal_places": 6})

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        del options["max_digits"], options["decimal_places"]
        return name, path, args, options

    def get_internal_type(self) -> str:
        return "BigIntegerField"

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Decimal | None:
        return None if value is None else usd(int(value)).quantize(MICRO)

    def get_prep_value(self, value: Any) -> Any:
        dollars = self.to_python(value)
        return dollars if dollars is None or hasattr(dollars, "resolve_expression") else picousd(dollars)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value if prepared else self.get_prep_value(value)


def usd(amount_picousd: int) -> Decimal:
    """Exact, with twelve places."""
    return Decimal(amount_picousd).scaleb(-12)


def picousd(dollars: Decimal) -> int:
    """Cuts off what is smaller than a picodollar."""
    return int(dollars * PICO)
