"""Why the HTTP server refuses what came over the wire."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """The reason: it is no request, not a complete one, or one that could be understood in two ways."""

    status: int
    code: str
    message: str
