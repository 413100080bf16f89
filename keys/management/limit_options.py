"""The limits and the budget as options of commands."""

from __future__ import annotations

import argparse
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandParser

from keys.limits.scope import COUNT_LIMITS

NONE = "none"
"""The text for no limit. In the body of a request it is null."""

PERIODS = ("total", "day", "week", "month")


def add_limits(parser: CommandParser) -> None:
    """Add the options of limits. The value `none` removes a limit."""
    for name, count in COUNT_LIMITS.items():
        parser.add_argument(option(name), type=count_or_none, metavar="N", help=f"{count.title.capitalize()}.")
    parser.add_argument("--budget", type=usd_or_none, metavar="USD", help="What may be spent in a period.")
    parser.add_argument("--period", choices=PERIODS, help="What the budget is for; total, where nothing is said.")
    parser.add_argument("--soft-threshold", type=share, metavar="S", help="Alert at this share of the budget: 0.8.")
    parser.add_argument("--time-zone", metavar="ZONE", help="Where periods begin: Europe/Berlin. Blank: the default's.")


def limit_fields(options: dict[str, Any]) -> dict[str, Any]:
    """The API's fields for the limits that the command line names."""
    names = (*COUNT_LIMITS, "budget", "period", "soft_threshold", "time_zone")
    return {name: unwritten(options[name]) for name in names if options[name] is not None}


def unwritten(value: Any) -> Any:
    return None if value == NONE else value


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def count_or_none(text: str) -> int | str:
    return text if text == NONE else int(text)


def usd_or_none(text: str) -> str:
    return text if text == NONE else share(text)


def share(text: str) -> str:
    """A decimal number, kept as text: the API takes text, and no digit is lost."""
    try:
        Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    return text
