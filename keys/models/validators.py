"""Validators of columns: what a value must be beyond its type."""

from __future__ import annotations

import re
from typing import Any

from django.core.exceptions import ValidationError

from keys.time_zones import is_time_zone


def validate_patterns(value: Any) -> None:
    """A list of model names or globs."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise ValidationError('Write a list of model names or globs, such as ["gpt-4.1-*"].')


def validate_strings(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError("Write a list of strings.")


def validate_object(value: Any) -> None:
    if not isinstance(value, dict):
        raise ValidationError("Write a JSON object.")


def validate_alias(value: str) -> None:
    if not re.fullmatch(r"[a-z0-9_.-]*", value):
        raise ValidationError("Write the alias in lower-case letters, digits, dots, dashes and underscores.")


def validate_time_zone(value: str) -> None:
    if value and not is_time_zone(value):
        raise ValidationError(f"There is no time zone {value!r}; write an IANA name, such as Europe/Berlin or UTC.")
