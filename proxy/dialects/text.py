"""Measures the text that a model wrote, wherever it stands in an answer."""

from __future__ import annotations

from typing import Any

from proxy.wire.text import bytes_of

TEXTS = frozenset(
    {
        *("content", "text", "thinking", "refusal", "reasoning", "summary"),
        *("name", "arguments", "function", "custom", "input", "code", "output"),
    }
)
"""Members of an answer's objects that are or contain what the model wrote; not ids, types and the like."""


def bytes_within(value: Any) -> int:
    """The size in UTF-8 of a text, or of all texts in a list or an object."""
    size = 0
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            size += bytes_of(value)
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += [each for name, each in value.items() if name in TEXTS]
    return size
