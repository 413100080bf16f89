"""Columns of the admin's lists and pages."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.contrib import admin

from shown.money import exact


def dollars(name: str, heading: str = "", how: Callable[[Decimal], str] = exact, ordering: str | None = None) -> Any:
    """The row's amount of this name, as people write money."""

    @admin.display(description=heading or name.replace("_", " "), empty_value="-", ordering=ordering)
    def column(row: Any) -> str | None:
        amount: Decimal | None = getattr(row, name)
        return None if amount is None else how(amount)

    column.__name__ = f"{name}_shown"
    return column
