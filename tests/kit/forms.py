"""The bytes of multipart forms."""

from __future__ import annotations

FORM = {"content-type": "multipart/form-data; boundary=B"}


def form(*fields: tuple[str, str | bytes], end: str = "--B--\r\n", **named: str) -> bytes:
    """A form: `form(("model", "a"), ("file", b"x"))`, or `form(model="a", file="x")` if no name is repeated."""
    parts = []
    for name, value in (*fields, *named.items()):
        head = f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        parts.append(head.encode() + (value.encode() if isinstance(value, str) else value) + b"\r\n")
    return b"".join(parts) + end.encode()
