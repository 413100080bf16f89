"""One stored answer, as it came from the provider."""

from __future__ import annotations

import msgspec

Headers = list[tuple[bytes, bytes]]
Piece = tuple[float, bytes]
"""When it came, in seconds since the answer's head, and its bytes."""

ENTRY_BYTES = 1024
"""What an entry takes in memory beside its text, about."""


class Handed(msgspec.Struct, frozen=True, gc=False):
    """What a client got of an entry. All clients that ask in the same form get the same."""

    form: tuple[str | None, bool]
    """The name under which the client asks for the model, if the provider has another one, and whether the usage of the
    stream is hidden.
    """
    lines: bytes
    """The header lines, without those that Sluice writes for each request."""
    pieces: tuple[bytes, ...]
    response_id: str

    @property
    def size(self) -> int:
        return 200 + len(self.lines) + sum(100 + len(piece) for piece in self.pieces)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """`created_at` and `expires_at` are Unix time, in seconds."""

    status: int
    headers: Headers
    pieces: tuple[Piece, ...]
    is_stream: bool
    tells_usage: bool
    """A stream that says what it used. One that does not is no answer for a client that wants to know."""
    asked_usage: bool
    """The provider was asked to say it, so a client that did not ask does not see it."""
    provider_id: int
    model: str
    """The provider's name for the model."""
    created_at: float
    expires_at: float
    handed: Handed | None = None
    """So that the next hit need not read the answer again."""

    @property
    def text_bytes(self) -> int:
        return sum(len(text) for _, text in self.pieces)

    @property
    def size(self) -> int:
        """What it takes of a bound in bytes."""
        handed_bytes = 0 if self.handed is None else self.handed.size
        return ENTRY_BYTES + self.text_bytes + 100 * len(self.pieces) + handed_bytes

    def age_s(self, now: float) -> int:
        return max(0, int(now - self.created_at))
