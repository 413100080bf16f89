"""Names of keys, users, teams and projects. They are in other apps, which are reached only through foreign keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Q

from usage.records import RequestRecord


def its_number(noun: str, column: str, value: str) -> Q:
    """Return the condition that the column has this id, or the id of the object with this name."""
    number = int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None
    if number is not None:
        return Q(**{column: number})
    return Q(**{f"{column}__in": model_of(noun)._default_manager.filter(**{name_field(noun): value}).values("pk")})


def names_of(noun: str, ids: Iterable[int]) -> dict[int, str]:
    """Return the names by id, of those objects that still exist."""
    rows = model_of(noun)._default_manager.filter(pk__in=set(ids))
    return dict(rows.values_list("pk", name_field(noun)))


def model_of(noun: str) -> Any:
    return RequestRecord._meta.get_field(noun).related_model


def name_field(noun: str) -> str:
    return "username" if noun == "user" else "name"
