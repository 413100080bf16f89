"""Cursors: the place where a page of a report ended, as text that clients send back for the next page."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any

import msgspec
from rest_framework import serializers

REFUSAL = "This is not a cursor; take it from `next`."


def cursor_of(at: datetime, group: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([at, *group])).decode()


def cursor_from(text: str) -> list[Any]:
    """Return the beginning of the span, and the values of the group in it. Raises `ValidationError`."""
    try:
        values = msgspec.json.decode(base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True), type=list)
        at = datetime.fromisoformat(values[0]).astimezone(UTC)
    except (ValueError, TypeError, LookupError, OverflowError, binascii.Error, msgspec.MsgspecError):
        raise serializers.ValidationError(REFUSAL) from None
    if not 1900 <= at.year <= 2900:
        raise serializers.ValidationError(REFUSAL)
    for value in values[1:]:
        if not isinstance(value, str | int) or isinstance(value, bool) or "\0" in str(value):
            raise serializers.ValidationError(REFUSAL)
        if isinstance(value, int) and abs(value) >= 2**63:
            raise serializers.ValidationError(REFUSAL)
    return [at, *values[1:]]
