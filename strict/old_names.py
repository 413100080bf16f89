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
    body: Mapping[str, Any], fields: Mapping[str, Any], writable: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The body with today's names, and its problems by the names that it has."""
    new_body: dict[str, Any] = {}
    problems: dict[str, list[str]] = {}
    for name, value in body.items():
        new = OLD_NAMES.get(name)
        if new is None or name in fields or new.name not in writable:
            new_body[name] = value
        elif new.name in body or new.name in new_body:
            problems[name] = [f"It is an old name for `{new.name}`, which is said already; leave one of them out."]
        else:
            warn_of_old_name(name, new.name)
            try:
                new_body[new.name] = new.convert(value)
            except ValidationError as error:
                problems[name] = [str(text) for text in error.detail]
    return new_body, problems


@lru_cache(maxsize=len(OLD_NAMES) * 2)
def warn_of_old_name(old: str, new: str) -> None:
    """Log it, once for each name and process."""
    log.warning("A management request says `%s`, an old name for `%s`; write the new one", old, new)
