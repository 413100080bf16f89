"""One stored answer, as it came from the provider."""

from __future__ import annotations

from typing import Any

import msgspec

Headers = list[tuple[bytes, bytes]]
Piece = tuple[float, bytes]
"""When it came, in seconds since the answer's head, and its bytes."""

ENTRY_BYTES = 1024
"""What an entry takes in memory beside its text, about."""

STORED_ID_BYTES = 512
"""What it takes to find an entry by the id of its answer."""


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
    usage: Any = None
    """What the answer used when it was made (`proxy/dialects/base.py`)."""

    @property
    def size(self) -> int:
        return 200 + len(self.lines) + sum(100 + len(piece) for piece in self.pieces)


class About(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the answer is about: what purges and people look at."""

    path: str
    """The endpoint's label, such as `/v1/chat/completions`."""
    model: str
    """The client's name for the model."""
    project_id: int | None
    request_id: str
    """Of the request that the provider answered."""
    response_id: str
    """The provider's id of its answer."""
    purge: int
    """The newest purge that the process knew when it asked the provider: a later one hides the entry."""


NOTHING = About("", "", None, "", "", 0)


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
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
    about: About = NOTHING
    came_as_stream: bool = False
    """How the provider gave it. `is_stream` differs where it was changed into the other form since."""
    handed: Handed | None = None
    """So that the next hit need not read the answer again."""
    credential: str = ""
    """The alias of the credential that the answer was made with."""
    stored_id: str = ""
    """The id under which the provider stores the answer for its client; "" if it does not."""

    @property
    def text_bytes(self) -> int:
        return sum(len(text) for _, text in self.pieces)

    @property
    def size(self) -> int:
        """What it takes of a bound in bytes."""
        handed_bytes = 0 if self.handed is None else self.handed.size
        id_bytes = STORED_ID_BYTES if self.stored_id else 0
        return ENTRY_BYTES + id_bytes + self.text_bytes + 100 * len(self.pieces) + handed_bytes

    def age_s(self, now: float) -> int:
        return max(0, int(now - self.created_at))


# --- what is written in Redis and in the database ---------------------------------------------------------

FORMAT = b"1"
"""Changes with the members of `Entry`: what another version wrote is no answer for this one."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def packed(entry: Entry) -> bytes:
    return FORMAT + _encoder.encode(entry if entry.handed is None else msgspec.structs.replace(entry, handed=None))


def unpacked(data: bytes) -> Entry | None:
    """None for what another version wrote, or nobody."""
    if data[:1] != FORMAT:
        return None
    try:
        return _decoder.decode(memoryview(data)[1:])
    except msgspec.MsgspecError:
        return None
