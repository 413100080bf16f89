"""The prices that the data plane uses. Each model's price is looked up once, and then kept in memory."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from django.db import DatabaseError

from usage.prices.listed import Listed, listed_price, load
from usage.prices.override import Override, PriceOverride
from usage.prices.price import FREE, Price

log = logging.getLogger("sluice.prices")

OnBad = Callable[[str, Exception], None]
"""Called with the name of a row that cannot be compiled, and the error."""

KEPT = 4096
"""The most prices that are kept. Clients choose the names of models, so a bound is needed. The oldest go first."""

SIMULATOR = "simulator"


class Prices:
    """All prices at one version of the configuration. Used on the event loop, and replaced if an override changes."""

    def __init__(self, overrides: Iterable[Override] = ()) -> None:
        self._overrides = tuple(overrides)
        self._listed: OrderedDict[tuple[str, str, str, str], Listed] = OrderedDict()

    def price_of(self, provider: str, kind: str, base_url: str, model: str, now: float) -> Price | None:
        """Return the price of a model at `now` (Unix seconds); None if it is not known.

        `model` is the provider's own name of the model.
        """
        address = (provider, kind, base_url, model)
        listed = self._listed.get(address)
        if listed is None or listed.until <= now:
            listed = self._listed[address] = self._look_up(provider, kind, base_url, model, now)
            if len(self._listed) > KEPT:
                self._listed.popitem(last=False)
        return listed.price

    def _look_up(self, provider: str, kind: str, base_url: str, model: str, now: float) -> Listed:
        fitting = [override for override in self._overrides if override.fits(provider, model)]
        begin = [override.valid_from for override in fitting if override.valid_from > now]
        in_force = [override for override in fitting if override.valid_from <= now]
        if in_force:
            listed = Listed(max(in_force, key=Override.rank).price, float("inf"))
        elif kind == SIMULATOR:
            listed = Listed(FREE, float("inf"))
        else:
            listed = listed_price(provider, kind, base_url, model, now)
        return Listed(listed.price, min([listed.until, *begin]))


def log_bad(what: str, error: Exception) -> None:
    log.error("The row of %s cannot be used (%s).", what, type(error).__name__)


def load_prices(kinds: Iterable[str], on_bad: OnBad = log_bad) -> Prices:
    """Read the overrides, and the list prices if a provider of these kinds may need them. Not for the event loop.

    An override that cannot be compiled is skipped and reported to `on_bad`.
    """
    if any(kind != SIMULATOR for kind in kinds):
        load()
    overrides: list[Override] = []
    for row in rows_of(on_bad):
        try:
            overrides.append(row.compile())
        except Exception as error:  # one bad row must not keep other changes from taking effect
            on_bad(f"price {row.pk}", error)
    return Prices(overrides)


def rows_of(on_bad: OnBad) -> Iterator[PriceOverride]:
    """Yield all rows; one by one if one of them cannot be read. SQLite may hold values of the wrong type."""
    try:
        yield from list(PriceOverride.objects.all())
    except DatabaseError:
        raise
    except Exception:
        for pk in PriceOverride.objects.values_list("pk", flat=True):
            try:
                yield from list(PriceOverride.objects.filter(pk=pk))
            except DatabaseError:
                raise
            except Exception as error:
                on_bad(f"price {pk}", error)
