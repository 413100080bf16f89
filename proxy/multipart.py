"""Find the field `model` in a form that streams by (RFC 7578)."""

from __future__ import annotations

import re

_FIELD = re.compile(
    rb"content-disposition:[^\r\n]*;\s*name=(?:\"model\"|model)(?=[;\s])[^\r\n]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n([^\r\n]*)\r?\n",
    re.IGNORECASE,
)
_LONGEST_BYTES = 8192
"""Of a field's headers and value. What is longer is no model's name."""


class ModelFinder:
    """Feed it the pieces of a form; it tells each model that it names, once.

    It looks for the field's header anywhere, inside of files as well: taking a file's content for a field can only
    refuse more, while a form that is written so that two readers see two things cannot slip by.
    """

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, piece: bytes) -> list[str]:
        window = self._tail + piece
        found = []
        end = 0
        for match in _FIELD.finditer(window):
            found.append(match[1].decode("utf-8", "replace").strip())
            end = match.end()
        self._tail = window[end:][-_LONGEST_BYTES:]
        return found
