"""Names that other gateways have for what a body says here.

Each is taken where the resource has its new name and no member of the old one. Filters have no old names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from django.utils import timezone
from rest_framework.exceptions import ValidationError

log = logging.getLogger("sluice")
MOST_DAYS = 365_000


def as_it_is(value: Any) -> Any:
    return value


def from_now(**unit: int) -> Callable[[Any], Any]:
    """A number of days or minutes as the moment at which they are over; null is never."""
    length = timedelta(**unit)
    most = timedelta(days=MOST_DAYS) // length

    def convert(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
            raise ValidationError(f"Write a whole number from 1 to {most}, or null for never.")
        return (timezone.now() + value * length).isoformat()

    return convert


class NewName(NamedTuple):
    name: str
    convert: Callable[[Any], Any] = as_it_is


OLD_NAMES: Mapping[str, NewName] = {
    "max_budget": NewName("budget"),
    "tpm_limit": NewName("tpm"),
    "rpm_limit": NewName("rpm"),
    "rate_limit": NewName("rps"),  # a burst has the same name in both
    "expires_days": NewName("expires_at", from_now(days=1)),
    "duration_minutes": NewName("expires_at", from_now(minutes=1)),
    "alias": NewName("upstream_alias"),
    "user_id": NewName("owner"),
    "team_id": NewName("team"),
    "is_enabled": NewName("is_active"),
    "api_base": NewName("base_url"),
    "provider_type": NewName("kind"),
    "model_mapping": NewName("models"),
    "project_id": NewName("project"),
    "openai_api_key": NewName("api_key"),
}


def with_new_names(
    body: Mapping[str, Any], known: Mapping[str, Any], writable: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The body by the names of today, and what is wrong with it, by the names that it has."""
    told: dict[str, Any] = {}
    problems: dict[str, list[str]] = {}
    for name, value in body.items():
        new = OLD_NAMES.get(name)
        if new is None or name in known or new.name not in writable:
            told[name] = value
        elif new.name in body or new.name in told:
            problems[name] = [f"It is an old name for `{new.name}`, which is said already; leave one of them out."]
        else:
            note(name, new.name)
            try:
                told[new.name] = new.convert(value)
            except ValidationError as error:
                problems[name] = [str(text) for text in error.detail]
    return told, problems


@lru_cache(maxsize=len(OLD_NAMES) * 2)
def note(old: str, new: str) -> None:
    """Once for each name and process."""
    log.warning("A management request says `%s`, an old name for `%s`; write the new one", old, new)
