"""Tokens of keys in what is written down, such as addresses: as much of them is left as tells one key from another."""

from __future__ import annotations

import re
from functools import lru_cache

from django.conf import settings

SHOWN_CHARS = 4
LEAST_CHARS = 12
"""The public id's, which is the shortest part of a token that finds its key."""


def without_tokens(text: str) -> str:
    prefix, tokens = _looked_for()
    return tokens.sub(r"\1…", text) if prefix in text else text


@lru_cache(maxsize=1000)
def shown_model(name: str) -> str:
    """A model's name without tokens. Few names are asked for again and again."""
    return without_tokens(name)


@lru_cache(maxsize=1)
def _looked_for() -> tuple[str, re.Pattern[str]]:
    """Asked for with each request: Django's settings take longer to ask than all of the rest."""
    prefix: str = settings.KEY_PREFIX
    rest = f"{{{LEAST_CHARS - SHOWN_CHARS},}}"
    return prefix, re.compile(rf"({re.escape(prefix)}[A-Za-z0-9]{{{SHOWN_CHARS}}})[A-Za-z0-9]{rest}")
