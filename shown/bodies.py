"""Bodies as people are shown them."""

from __future__ import annotations

import base64


def readable(raw: bytes, *, is_cut: bool) -> dict[str, str]:
    """As text where it is UTF-8, else in base64."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        # The last character of a cut body may be incomplete.
        if not (is_cut and error.start >= len(raw) - 3 and error.reason == "unexpected end of data"):
            return {"encoding": "base64", "body": base64.b64encode(raw).decode()}
        text = raw[: error.start].decode()
    return {"encoding": "utf-8", "body": text}
