"""Mask tokens of keys in texts that are stored or logged, such as paths. Enough is left to tell keys apart."""

from __future__ import annotations

import re
from functools import lru_cache

from django.conf import settings

SHOWN_CHARS = 4
LEAST_CHARS = 12
"""The length of the public id, which is the shortest part of a token that finds its key."""


def without_tokens(text: str) -> str:
    prefix, tokens = _looked_for()
    return tokens.sub(r"\1…", text) if prefix in text else text


@lru_cache(maxsize=1000)
def shown_model(name: str) -> str:
    """Return a model's name without tokens. It is cached, because few names are used again and again."""
    return without_tokens(name)


@lru_cache(maxsize=1)
def _looked_for() -> tuple[str, re.Pattern[str]]:
    """Return the prefix and the expression. They are cached, as reading the settings takes longer than the rest."""
    prefix: str = settings.KEY_PREFIX
    rest = f"{{{LEAST_CHARS - SHOWN_CHARS},}}"
    return prefix, re.compile(rf"({re.escape(prefix)}[A-Za-z0-9]{{{SHOWN_CHARS}}})[A-Za-z0-9]{rest}")
