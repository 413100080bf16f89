"""What this app asks of others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from strict.ports import Port


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


class BudgetsOf(Protocol):
    def __call__(self, kind: str, idents: Collection[str], now: datetime) -> Sequence[Budget]:
        """Of those of these scopes that have one. `kind` and `idents` are as in the ledger's totals."""


class PriceAddress(Protocol):
    def __call__(self, provider: str, model: str) -> tuple[str, str, str] | None:
        """What prices are looked up by: kind, base URL, and the provider's own name for the model; None: there is no
        such provider.
        """


BUDGETS_OF: Port[BudgetsOf] = Port("usage.ports.BUDGETS_OF")
PROVIDER_NAMES: Port[Callable[[], Collection[str]]] = Port("usage.ports.PROVIDER_NAMES")
PRICE_ADDRESS: Port[PriceAddress] = Port("usage.ports.PRICE_ADDRESS")
