"""What budgets there are, asked of whoever has them.

This app does not know keys, users, teams and projects. The setting BUDGETS_OF names the callable that does; without it
there are no budgets.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.utils.module_loading import import_string


class Budget(NamedTuple):
    """The budget of a scope, in the period that a moment is in. Money in picodollars, times in Unix seconds.

    `owner` is the number of the user whose it is, where it is one's.
    """

    ident: str
    name: str
    owner: int | None
    budget: int
    threshold: int
    period: str
    since: int
    until: int | None


def budgets_of(kind: str, idents: Collection[str], now: datetime) -> Sequence[Budget]:
    """Of those of these scopes that have one. `kind` and `idents` are as in the ledger's totals."""
    if not idents or not settings.BUDGETS_OF:
        return []
    found: Sequence[Budget] = import_string(settings.BUDGETS_OF)(kind, idents, now)
    return found
