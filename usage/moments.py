"""Moments that clients name."""

from __future__ import annotations

from datetime import UTC, datetime

from django.core.exceptions import ValidationError


def representable(moment: datetime) -> None:
    """An offset may put a moment before year 1 or after 9999, which no database stores."""
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValidationError("This is outside the years 1 to 9999.") from None
