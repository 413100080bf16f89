"""The ports of this app: what it needs from other apps. `config/ports.py` supplies the implementations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from strict.ports import Port


class Budget(NamedTuple):
    """The budget of a scope in one period. Money is in picodollars, times are in Unix seconds.

    `owner` is the id of the user to whom the scope belongs, if there is one.
    """

    ident: str
    name: str
    owner: int | None
    budget: int
    threshold: int
    period: str
    since: int
    until: int | None


class BudgetsOf(Protocol):
    def __call__(self, kind: str, idents: Collection[str], now: datetime) -> Sequence[Budget]:
        """Return the budgets, in the period of `now`, of those of these scopes that have one.

        `kind` and `idents` are as in the ledger's totals.
        """


class PriceAddress(Protocol):
    def __call__(self, provider: str, model: str) -> tuple[str, str, str] | None:
        """Return what prices are looked up by: kind, base URL, and the provider's own name of the model.

        Returns None if there is no such provider.
        """


BUDGETS_OF: Port[BudgetsOf] = Port("usage.ports.BUDGETS_OF")
PROVIDER_NAMES: Port[Callable[[], Collection[str]]] = Port("usage.ports.PROVIDER_NAMES")
PRICE_ADDRESS: Port[PriceAddress] = Port("usage.ports.PRICE_ADDRESS")
