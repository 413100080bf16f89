"""The format of an event in the journal: a checksum (CRC-32 in hex), a space, the event as JSON, a line end.

A line of text can be read with any tool. The checksum tells a whole line from one that was cut off or edited. Events of
an older version lack fields, which then have their defaults. Fields of a newer version are ignored.
"""

from __future__ import annotations

from zlib import crc32

import msgspec

from usage.event import RequestEvent

CHECKSUM_CHARS = 8
BROKEN_SEAL = "its checksum does not fit"

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RequestEvent)

encode = _encoder.encode
"""An event as JSON."""


class Damaged(ValueError):
    """A line is not an event as it was written. The message says what is wrong with it."""


def sealed(document: bytes) -> bytes:
    """Return the line of an encoded event, with its line end."""
    return b"%08x %s\n" % (crc32(document), document)


def is_sealed(line: bytes) -> bool:
    """Whether a line, without its line end, fits its checksum."""
    checksum, _, document = line.partition(b" ")
    return checksum == b"%08x" % crc32(document)


def read(line: bytes) -> RequestEvent:
    """Return the event of a line without its line end. Raises `Damaged`."""
    if not is_sealed(line):
        raise Damaged(BROKEN_SEAL)
    return event_of(line[CHECKSUM_CHARS + 1 :])


def event_of(document: bytes) -> RequestEvent:
    """Decode an event from JSON. Raises `Damaged`."""
    try:
        return _decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(f"it is no event: {error}") from None
