"""Of what came over the wire and is no request."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """Why something is refused that is no request, or not to its end, or not one that can be understood in one way."""

    status: int
    code: str
    message: str
