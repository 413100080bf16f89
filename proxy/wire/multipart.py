"""Find some fields of a form while it is forwarded (RFC 7578)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_DISPOSITION = re.compile(rb"content-disposition[ \t]*:([^\r\n]*)\r?\n", re.IGNORECASE)
_BEGUN = re.compile(rb"content-disposition[^\r\n]*\r?$", re.IGNORECASE)
# As every HTTP library writes it: plain quoted parameters, without escapes, spaces or other character sets in the name.
_PLAIN = re.compile(
    rb' ?form-data; ?name="([^"\\]*)"(?:; ?filename="[^"]*")?(?:; ?filename\*=[^;"]*)?[ \t]*', re.IGNORECASE
)
# Up to the boundary, because a value of several lines is another value than its first line.
_VALUE = re.compile(rb"(?:[^\r\n]+\r?\n)*\r?\n([^\r\n]*)\r?\n--")
_LONGEST_BYTES = 8192
"""Of a field's headers and value together. So much of a piece is kept, because a field may begin at its end."""


class UnreadableForm(ValueError):
    """Two parsers could read two different names in a field's header."""


class FieldFinder:
    """Finds the values of the fields with these names in the pieces of a form.

    It reads every field's header, also inside files. Taking a file's content for a field can only refuse more requests,
    and a form that two parsers would read differently cannot pass.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {name.casefold(): name for name in names}
        self._tail = b""

    def feed(self, piece: bytes) -> list[tuple[str, str]]:
        """(Name, value) of each field that ends in this piece. Raises `UnreadableForm`."""
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
        """The form is over. Raises `UnreadableForm` if it broke off in the middle of a field's header."""
        if _DISPOSITION.search(self._tail) or _BEGUN.search(self._tail):
            raise UnreadableForm
