"""Multipart forms as they go on the wire."""

from __future__ import annotations

FORM = {"content-type": "multipart/form-data; boundary=B"}


def form(*fields: tuple[str, str | bytes], end: str = "--B--\r\n", **named: str) -> bytes:
    """`form(("model", "a"), ("file", b"x"))`, or `form(model="a", file="x")` where no name comes twice."""
    parts = []
    for name, value in (*fields, *named.items()):
        head = f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        parts.append(head.encode() + (value.encode() if isinstance(value, str) else value) + b"\r\n")
    return b"".join(parts) + end.encode()
