"""How an event stands in the journal: a checksum, a space, the event as JSON, a line end.

A line of text can be read with any tool. The checksum tells a line that was written from one that was cut off or
edited. An event of an older version has fewer fields, which take their defaults; one of a newer version has more, which
are left out.
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
    """A line that is not what was written; the text says what is wrong with it."""


def sealed(document: bytes) -> bytes:
    """The line of an encoded event."""
    return b"%08x %s\n" % (crc32(document), document)


def is_sealed(line: bytes) -> bool:
    """Whether a line without its end is as it was written."""
    checksum, _, document = line.partition(b" ")
    return checksum == b"%08x" % crc32(document)


def read(line: bytes) -> RequestEvent:
    """The event of a line without its end. Raises `Damaged`."""
    if not is_sealed(line):
        raise Damaged(BROKEN_SEAL)
    return event_of(line[CHECKSUM_CHARS + 1 :])


def event_of(document: bytes) -> RequestEvent:
    """The event that stands there as JSON. Raises `Damaged`."""
    try:
        return _decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(f"it is no event: {error}") from None
