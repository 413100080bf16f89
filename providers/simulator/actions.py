"""What a script is made of: the same for the player in the process and the player on sockets."""

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
    """Nothing is sent for this long. Pauses add up on one timeline: time lost in between is made good."""

    seconds: float


class Cut(NamedTuple):
    """The connection drops without a proper end."""


class Stall(NamedTuple):
    """Nothing more is sent until the peer goes away."""


class End(NamedTuple):
    """The answer is whole."""


Action = Head | Piece | Malformed | Pause | Cut | Stall | End


class Script(NamedTuple):
    """How a request is answered: any pauses, a head, pieces, and one of End, Cut and Stall."""

    actions: Iterable[Action]
    repeatable: bool
    """True: `actions` is a tuple, and the same request is answered by it at any time."""
