"""Numbers and moments in sentences and tables."""

from __future__ import annotations

from datetime import UTC, datetime


def counted(number: int, one: str, many: str = "") -> str:
    """`1 key`, `2 keys`, `1,000 keys`; `many` where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def moment(when: datetime | None, never: str = "never") -> str:
    """To the second, with its zone."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if when is not None else never
