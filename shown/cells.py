"""Values of the management API in tables and lists for a terminal."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from shown.money import exact

RATES = (
    *("input", "output", "cached_input", "cache_write", "reasoning", "audio_input", "audio_output"),
    *("image_input", "image_output", "per_request", "per_image", "per_million_characters", "per_minute"),
)
MONEY = frozenset({"budget", "spent", "remaining", *RATES})
"""What is money besides all whose name ends in `_usd`."""
MOMENTS = frozenset({"from", "to", "since", "until", "valid_from", "first", "end"})


def cell(name: str, value: Any) -> str:
    """`name` is the column's, or the member's. Without what a terminal would obey: texts are written by others."""
    if value is None or value == "" or value in ([], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return _word(value)
    if isinstance(value, str):
        if name in MONEY or name.endswith("_usd"):
            return _money(value)
        if name in MOMENTS or name.endswith(("_at", "_until", "_start", "_end")):
            return _moment(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _money(text: str) -> str:
    try:
        return exact(Decimal(text))
    except InvalidOperation:
        return cell("", text)


def _moment(text: str) -> str:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return cell("", text)
    return _word(when) if when.tzinfo else cell("", text)


def _word(when: datetime) -> str:
    """To the second, with its zone, and without a space: a program may take a table's line apart."""
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")
