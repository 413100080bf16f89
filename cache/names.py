"""The names of entries: a digest and a form. In Redis and in the database a name is one text."""

from __future__ import annotations

Name = tuple[str, bool]
"""The digest, and whether the answer is a stream."""

PLAIN, STREAM = "p", "s"


def name_text(name: Name) -> str:
    """65 characters."""
    digest, is_stream = name
    return digest + (STREAM if is_stream else PLAIN)


def name_of(text: str) -> Name:
    return text[:-1], text[-1] == STREAM
