"""Numbers and moments in sentences and tables."""

from __future__ import annotations

from datetime import datetime


def counted(number: int, one: str, many: str = "") -> str:
    """`1 key`, `2 keys`, `1,000 keys`; `many` where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def moment(when: datetime | None, never: str = "never") -> str:
    """To the second, with its zone: `2026-11-30 08:07:06 UTC`, or another one's distance, as `+01:00`."""
    if when is None:
        return never
    zone = f"{when:%z}" if when.utcoffset() else ""
    return f"{when:%Y-%m-%d %H:%M:%S} {f'{zone[:3]}:{zone[3:5]}' if zone else 'UTC'}"
