"""The actions of a script. Both players, `inprocess.py` and `server.py`, perform the same actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Headers = tuple[tuple[bytes, bytes], ...]


class Head(NamedTuple):
    """Status and headers, names in lower case. Without `content-length` the body is streamed."""

    status: int
    headers: Headers


class Piece(NamedTuple):
    """One SSE frame, or the body of a plain answer."""

    data: bytes


class Malformed(NamedTuple):
    """A piece that is broken on purpose: half a JSON frame."""

    data: bytes


class Pause(NamedTuple):
    """Nothing is sent for this long. Pauses add up on one timeline, so a late action does not delay later ones."""

    seconds: float


class Cut(NamedTuple):
    """The connection closes before the answer is complete."""


class Stall(NamedTuple):
    """Nothing more is sent until the peer goes away."""


class End(NamedTuple):
    """The answer is complete."""


Action = Head | Piece | Malformed | Pause | Cut | Stall | End


class Script(NamedTuple):
    """How a request is answered: a head, pieces, pauses, then `End`, `Cut` or `Stall`. A `Cut` may replace the head."""

    actions: Iterable[Action]
    repeatable: bool
    """True: `actions` is a tuple, and the same request may always be answered by it."""
