"""Shared by the commands that list rows: options for the API's filters, and a bound on the number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandParser

Filters = Mapping[str, str | Sequence[str]]
"""The name of a filter in the API, and its help or its possible values."""


def add_filters(parser: CommandParser, filters: Filters) -> None:
    for name, meaning in filters.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(meaning, str):
            parser.add_argument(option, help=meaning)
        else:
            parser.add_argument(option, choices=meaning)
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="Most rows listed (100); 0: all.")


def listed(api: Any, path: str, filters: Iterable[str], options: dict[str, Any]) -> Any:
    """Return as many rows as were asked for, even if pages end early."""
    query = {name: options[name] for name in filters if options[name] is not None}
    return api.everything(path, most=max(0, options["limit"]) or None, **query)
