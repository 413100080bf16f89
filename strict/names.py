"""Names that nobody knows, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from strict.old_names import OLD_NAMES

ALIKE = 0.6
MOST_LISTED = 12
"""Names in one sentence; more than that nobody reads."""


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that this one was probably meant to be. A word of it (`max_rpm`) tells more than its letters."""
    names = list(allowed)
    meanings = {old: new.name for old, new in OLD_NAMES.items() if new.name in names}
    written = name.casefold().replace("-", "_")
    matches = get_close_matches(written, [*names, *meanings], 1, 0.8)
    words = written.split("_")
    matches = (
        matches or [one for one in names if one in words] or get_close_matches(written, [*names, *meanings], 1, ALIKE)
    )
    return meanings.get(matches[0], matches[0]) if matches else None


def unknown(name: str, allowed: Iterable[str], what: str) -> str:
    """The sentence about it. `what` is a member, a parameter, an option."""
    names = list(allowed)
    if meant := nearest(name, names):
        return f"There is no such {what}; did you mean `{meant}`?"
    if not names:
        return f"There is no such {what}: none is taken here."
    listed = ", ".join(f"`{each}`" for each in names[:MOST_LISTED])
    return f"There is no such {what}. There are {listed}{', …' if len(names) > MOST_LISTED else ''}."
