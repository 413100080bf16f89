"""A stored stream for a plain request, and a stored object for a stream (F83)."""

from __future__ import annotations

import msgspec

from cache.entry import Entry
from proxy.dialects.base import Dialect
from proxy.endpoints import dialect_of
from proxy.wire.sse import FrameSplitter

MOST_BYTES = 64 * 1024
"""A longer answer is not changed on the event loop: its provider is asked."""

STREAM = [(b"content-type", b"text/event-stream; charset=utf-8")]
OBJECT = [(b"content-type", b"application/json")]


def in_other_form(entry: Entry, dialect: Dialect) -> Entry | None:
    """The same answer as a stream, or as an object; None where it has no such form."""
    if entry.text_bytes > MOST_BYTES or is_encoded(entry):
        return None
    text = b"".join(piece for _, piece in entry.pieces)
    try:
        if not entry.is_stream:
            frames = dialect.as_stream(text, with_usage=True)
            pieces = tuple((0.0, frame) for frame in frames)
            return changed(entry, headers=STREAM, pieces=pieces, is_stream=True, tells_usage=True, asked_usage=True)
        if not entry.tells_usage:
            return None  # an object always says what it used
        body = dialect.as_object(frames_in(text))
        return changed(entry, headers=OBJECT, pieces=((0.0, body),), is_stream=False)
    except ValueError:  # `NoOtherForm`, or half a surrogate pair, which cannot be written
        return None


def object_of(entry: Entry, path: str) -> bytes | None:
    """The same answer as an object, however long it is; None where it has no such form. Not for the event loop."""
    if is_encoded(entry):
        return None
    text = b"".join(piece for _, piece in entry.pieces)
    if not entry.is_stream:
        return text
    try:
        return dialect_of(path).as_object(frames_in(text))
    except ValueError:
        return None


def is_encoded(entry: Entry) -> bool:
    return any(name == b"content-encoding" for name, _ in entry.headers)


def frames_in(text: bytes) -> list[bytes]:
    splitter = FrameSplitter()
    return [*splitter.feed(text), splitter.rest()]


def changed(entry: Entry, **members: object) -> Entry:
    """The entry with these members. What was sent of it before was in its first form."""
    return msgspec.structs.replace(entry, handed=None, **members)
