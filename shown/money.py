"""Money as people write it: no exponent, no amount that looks like nothing, cents where there are dollars.

Machines get decimals with all their places (`machine`). Pages, tables, mails and texts have it from here.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal

PLACES = 12
"""What is counted is whole pico-dollars."""
DIGITS = 4
"""Of an amount below a dollar, where it is rounded."""
_exact = Context(prec=60)


def exact(dollars: Decimal) -> str:
    """A setting or a price, to its last place: `$12.50`, `$0.00001`."""
    sign = "-" if dollars < 0 else ""
    return f"{sign}${plain(dollars.copy_abs(), ',')}"


def about(dollars: Decimal) -> str:
    """What was counted, never more than that: `$1,234.56`; below a dollar four digits: `$0.00001234`.

    Rounded down, so that a budget which is not used up does not look as if it were.
    """
    places = 2 if abs(dollars) >= 1 else max(2, DIGITS - 1 - dollars.adjusted()) if dollars else 2
    return exact(dollars.quantize(Decimal(1).scaleb(-places), ROUND_DOWN, _exact))


def plain(dollars: Decimal, thousands: str = "") -> str:
    """Exact, with two places at least, and no sign of a currency."""
    whole, _, rest = f"{dollars:{thousands}f}".partition(".")
    return f"{whole}.{rest.rstrip('0'):0<2}"


def machine(dollars: Decimal) -> str:
    """With all twelve places, as every amount that was counted."""
    return f"{dollars:.{PLACES}f}"


def share(percent: float) -> str:
    """Of a hundred: `0.5 %`."""
    return f"{percent:,.2f}".rstrip("0").rstrip(".") + " %"
