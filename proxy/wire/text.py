"""The size of a text, in tokens and in bytes."""

from __future__ import annotations

BYTES_PER_TOKEN = 4
"""An approximation for UTF-8 text. docs/operations.md says how far it is from what tokenizers count."""


def tokens_of_bytes(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)


def bytes_of(text: str) -> int:
    """The length of the text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
