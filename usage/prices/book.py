"""The prices as the data plane asks for them: looked up once for each model, then from memory."""

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
"""Told what cannot be compiled, and why."""

KEPT = 4096
"""Prices remembered. Clients choose the names of models, so their number is bounded; the oldest go first."""

SIMULATOR = "simulator"


class Prices:
    """All prices at one version of the configuration. Asked on the event loop; replaced when an override changes."""

    def __init__(self, overrides: Iterable[Override] = ()) -> None:
        self._overrides = tuple(overrides)
        self._listed: OrderedDict[tuple[str, str, str, str], Listed] = OrderedDict()

    def price_of(self, provider: str, kind: str, base_url: str, model: str, now: float) -> Price | None:
        """The price of the provider's own model at `now` (Unix seconds); None when nobody knows it."""
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
    """Read the overrides, and the list prices where a provider of these kinds may need them. Not for the event loop.

    An override that cannot be compiled is skipped, and told of.
    """
    if any(kind != SIMULATOR for kind in kinds):
        load()
    overrides: list[Override] = []
    for row in rows_of(on_bad):
        try:
            overrides.append(row.compile())
        except Exception as error:  # it must not keep what changes elsewhere from being heard
            on_bad(f"price {row.pk}", error)
    return Prices(overrides)


def rows_of(on_bad: OnBad) -> Iterator[PriceOverride]:
    """All rows; one by one where one of them cannot even be read, as in SQLite, which takes any value anywhere."""
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
