"""The one shape of every error under `/api/`, whoever answers it: a view, Django, a middleware, or the HTTP server.

    {"detail": "rpm: Write a number.", "code": "invalid", "errors": {"rpm": ["Write a number."]}}

`detail` is for people, `code` for programs, `errors` has what is wrong with each member or parameter that is named, and
is empty where none is. The accounts under `/v1/` answer in the shape of their clients' SDKs: `proxy/errors.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypedDict

MOST_PROBLEMS_SHOWN = 10
"""Problems in `detail`; all of them are in `errors`."""


class ErrorDocument(TypedDict):
    detail: str
    code: str
    errors: dict[str, list[str]]


def is_management(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def error_document(detail: str, code: str, errors: Mapping[str, Iterable[str]] | None = None) -> ErrorDocument:
    return {
        "detail": detail,
        "code": code,
        "errors": {name: list(problems) for name, problems in (errors or {}).items()},
    }


def error_bytes(detail: str, code: str) -> bytes:
    """The document for who writes it without Django or DRF."""
    return json.dumps(error_document(detail, code)).encode()


def in_words(problems: Iterable[tuple[str, str]]) -> str:
    """Pairs of a name, blank where the problem is nobody's own, and what is wrong, as one line."""
    lines = [f"{name}: {problem}" if name else problem for name, problem in problems]
    more = len(lines) - MOST_PROBLEMS_SHOWN
    return " ".join(lines[:MOST_PROBLEMS_SHOWN]) + (f" And {more} more." if more > 0 else "")
