"""Validate times that clients send."""

from __future__ import annotations

from datetime import UTC, datetime

from django.core.exceptions import ValidationError


def representable(moment: datetime) -> None:
    """Refuse a time that its offset puts before year 1 or after 9999, which no database stores.

    Raises `ValidationError`.
    """
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValidationError("This is outside the years 1 to 9999.") from None
