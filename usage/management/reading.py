"""What the commands share that list what is only read: the API's filters as options, and a bound on the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandParser

Filters = Mapping[str, str | Sequence[str]]
"""Name in the API → help, or the values that it may have."""


def add_filters(parser: CommandParser, filters: Filters) -> None:
    for name, meaning in filters.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(meaning, str):
            parser.add_argument(option, help=meaning)
        else:
            parser.add_argument(option, choices=meaning)
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="Most rows listed (100); 0: all.")


def listed(api: Any, path: str, filters: Iterable[str], options: dict[str, Any]) -> Any:
    """As many rows as were asked for, also where a page ended early."""
    query = {name: options[name] for name in filters if options[name] is not None}
    return api.everything(path, most=max(0, options["limit"]) or None, **query)
