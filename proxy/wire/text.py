"""How much a text is."""

from __future__ import annotations

BYTES_PER_TOKEN = 4
"""Of text in UTF-8, about; docs/operations.md has how far that is from what tokenizers count."""


def tokens_of_bytes(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)


def bytes_of(text: str) -> int:
    """In UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
