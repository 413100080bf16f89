"""What a client says about caching, in `Cache-Control` (RFC 9111, section 5.2.1) and `Pragma`."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

MOST_S = 2**31 - 1
"""A longer time counts as this one (RFC 9111, section 1.2.2)."""


class Directives(NamedTuple):
    no_cache: bool = False
    """Do not answer from the cache; what comes may be stored."""

    no_store: bool = False
    """Neither answer from the cache nor store."""

    only_if_cached: bool = False
    """Answer from the cache or not at all."""

    public: bool = False
    max_age_s: int | None = None
    """The oldest answer that the client takes."""

    @property
    def asks(self) -> bool:
        """The client asks for the cache, where a project leaves that to the request."""
        return self.public or bool(self.max_age_s) or self.only_if_cached


NONE = Directives()


@lru_cache(maxsize=1024)
def directives_of(cache_control: bytes, pragma: bytes = b"") -> Directives:
    """Unknown words and nonsense are ignored, as the standard says; `Pragma: no-cache` counts where there is no
    `Cache-Control`.
    """
    if not cache_control:
        return Directives(no_cache=b"no-cache" in pragma.lower()) if pragma else NONE
    words: dict[str, str] = {}
    for item in cache_control.decode("latin-1").lower().split(","):
        name, _, value = item.strip().partition("=")
        words.setdefault(name.strip(), value.strip().strip('"'))
    age = words.get("max-age")
    max_age_s = None
    if age is not None:
        max_age_s = min(int(age), MOST_S) if age.isascii() and age.isdigit() and len(age) < 20 else 0
    return Directives("no-cache" in words, "no-store" in words, "only-if-cached" in words, "public" in words, max_age_s)
