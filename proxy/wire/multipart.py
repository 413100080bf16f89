"""Find some fields of a form that streams by (RFC 7578)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_DISPOSITION = re.compile(rb"content-disposition[ \t]*:([^\r\n]*)\r?\n", re.IGNORECASE)
_BEGUN = re.compile(rb"content-disposition[^\r\n]*\r?$", re.IGNORECASE)
# As every HTTP library writes it: plain quoted parameters, without escapes, spaces or other character sets in the name.
_PLAIN = re.compile(
    rb' ?form-data; ?name="([^"\\]*)"(?:; ?filename="[^"]*")?(?:; ?filename\*=[^;"]*)?[ \t]*', re.IGNORECASE
)
# Up to the boundary: a value of several lines is not the value that its first line is.
_VALUE = re.compile(rb"(?:[^\r\n]+\r?\n)*\r?\n([^\r\n]*)\r?\n--")
_LONGEST_BYTES = 8192
"""Of a field's headers and value together; and what is kept of a piece, since a field may begin at its end."""


class UnreadableForm(ValueError):
    """A field's header is written so that two readers could see two names in it."""


class FieldFinder:
    """Feed it the pieces of a form; it tells the values of the fields of these names.

    It looks at every field's header, inside of files as well: to take a file's content for a field can only refuse
    more, while a form that is written for two readers to see two things cannot slip by.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {name.casefold(): name for name in names}
        self._tail = b""

    def feed(self, piece: bytes) -> list[tuple[str, str]]:
        """Raises `UnreadableForm`."""
        window = self._tail + piece
        fields = []
        keep_from = max(0, len(window) - len(b"content-disposition"))
        for match in _DISPOSITION.finditer(window):
            plain = _PLAIN.fullmatch(match[1])
            if plain is None:
                raise UnreadableForm
            name = self._names.get(plain[1].decode("utf-8", "replace").strip().casefold().removesuffix("[]"))
            if name is None:
                continue
            value = _VALUE.match(window, match.end())
            if value is not None:
                fields.append((name, value[1].decode("utf-8", "replace").strip()))
            else:
                keep_from = min(keep_from, match.start())
        if begun := _BEGUN.search(window, max(0, len(window) - 2 * _LONGEST_BYTES)):
            keep_from = min(keep_from, begun.start())
        self._tail = window[keep_from:]
        if len(self._tail) > _LONGEST_BYTES:
            raise UnreadableForm
        return fields

    def end(self) -> None:
        """The form is over. Raises `UnreadableForm` when it broke off in the middle of a field's header."""
        if _DISPOSITION.search(self._tail) or _BEGUN.search(self._tail):
            raise UnreadableForm
