"""The names of time zones that are accepted."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import available_timezones


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """IANA's names, such as Europe/Berlin. Reading them takes some milliseconds, so they are kept."""
    return frozenset(available_timezones())


def is_time_zone(name: str) -> bool:
    return name == "UTC" or name in known_zones()
