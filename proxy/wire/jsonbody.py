"""A JSON object whose top level is parsed, and whose values stay the bytes that came.

An edit replaces, adds or removes members of the top level. Everything below is copied as it was written: numbers keep
their digits, and strings their escapes. A body without an edit is sent as the same bytes that came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from proxy.wire.body_facts import RequestFacts

_members = msgspec.json.Decoder(dict[str, Raw])
_encoder = msgspec.json.Encoder()
_text = msgspec.json.Decoder(str | None)
_any = msgspec.json.Decoder()
_pairs = json.JSONDecoder(object_pairs_hook=list)

_LONE_SURROGATE = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
T = TypeVar("T")

EXACT_CHECK_BYTES = 256 * 1024
SOFTENED_BYTES = 512 * 1024


def decoded(decoder: msgspec.json.Decoder[T], raw: bytes) -> T:
    """The decoded value. Raises the decoder's errors.

    JSON allows half of a surrogate pair in an escape, and JavaScript writes it if a string was cut in the middle of an
    emoji, but msgspec does not read it. So a copy is decoded, in which a replacement character of the same length takes
    its place. A large text is not repaired: that takes seconds if it contains many of them.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if len(raw) > SOFTENED_BYTES:
            raise
        softened = _LONE_SURROGATE.sub(lambda match: match[1] or rb"\ufffd", raw)
        if softened == raw:
            raise
        return decoder.decode(softened)


def encoded(value: Any) -> bytes:
    return _encoder.encode(value)


def may_name(raw: bytes, words: tuple[bytes, ...]) -> bool:
    """Whether the body may contain one of these words, which may be written with escapes."""
    for word in words:
        if raw.find(word) >= 0:  # `in` takes three times as long: it first tries bytes as a number, which fails
            return True
    return raw.find(b"\\") >= 0 and b"\\u00" in raw and _ESCAPED_LETTER.search(raw) is not None


class TooLongToRead(Exception):
    """The member `name` is longer than Sluice reads. Honest clients write only little in it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The {name} parameter is too long.")
        self.name = name


class NotAnObject(ValueError):
    """The bytes are not one JSON object; the text says what is wrong."""


class JSONBody:
    """A request's or an answer's JSON object."""

    __slots__ = ("_edited", "_raw", "members")

    facts: RequestFacts | None = None
    """Set for a long body, whose members this process does not read (`heavy/body.py`)."""

    def __init__(self, raw: bytes) -> None:
        """Raises `NotAnObject`."""
        self._raw = raw
        self._edited = False
        try:
            self.members: dict[str, Raw] = decoded(_members, raw)
        except msgspec.ValidationError:
            raise NotAnObject("the body must be a JSON object") from None
        except msgspec.DecodeError as error:
            raise NotAnObject(str(error)) from None
        except UnicodeDecodeError:
            raise NotAnObject("it is not UTF-8") from None
        except RecursionError:
            raise NotAnObject("it is nested too deeply") from None

    @property
    def size(self) -> int:
        """In bytes, as it came."""
        return len(self._raw)

    @property
    def is_edited(self) -> bool:
        """Whether it is sent as other bytes than came."""
        return self._edited

    def may_name(self, words: tuple[bytes, ...]) -> bool:
        """Whether it may name a stored object. A body that names one contains one of the words."""
        return may_name(self._raw, words)

    def check_unambiguous(self) -> None:
        """Make sure that the provider reads what the gateway read. Raises `NotAnObject` for text that is not UTF-8.

        If a name occurs twice, or once plainly and once with escapes, the provider could take another value than
        Sluice: a way around the allowed models. Such a body is written anew with the values that were checked.
        """
        if not self._raw.isascii():
            try:
                self._raw.decode()
            except UnicodeDecodeError as error:
                raise NotAnObject(f"it is not UTF-8 (byte {error.start})") from None
        compact = _encoder.encode(self.members)
        if len(compact) == len(self._raw):
            return
        # White space makes it longer as well, and is no reason to change the bytes. So the names are checked, if that
        # is cheap.
        if len(self._raw) > EXACT_CHECK_BYTES or _has_double_names(self._raw, len(self.members)):
            self._edited = True

    def get(self, name: str) -> Any:
        """A member as a Python value; None if it is missing or null. Raises `NotAnObject` if it cannot be decoded."""
        value = self.members.get(name)
        try:
            return None if value is None else _any.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise NotAnObject(f"the value of {name!r} cannot be read") from None

    def says(self, name: str, value: bytes) -> bool:
        """Whether a member's value is exactly these bytes."""
        member = self.members.get(name)
        return member is not None and bytes(member) == value

    def mentions(self, name: str, word: bytes) -> bool:
        """Whether a member's value contains this word."""
        member = self.members.get(name)
        return member is not None and word in bytes(member)

    def raw(self, name: str) -> bytes | None:
        value = self.members.get(name)
        return None if value is None else bytes(value)

    def set(self, name: str, value: Any) -> None:
        self.members[name] = Raw(_encoder.encode(value))
        self._edited = True

    def set_raw(self, name: str, value: bytes) -> None:
        self.members[name] = Raw(value)
        self._edited = True

    def remove(self, name: str) -> None:
        if self.members.pop(name, None) is not None:
            self._edited = True

    def encode(self, changes: Mapping[str, Any] | None = None) -> bytes:
        """The bytes to send, with these members set. The body itself does not change."""
        if changes:
            return _encoder.encode(self.members | {name: Raw(encoded(value)) for name, value in changes.items()})
        return _encoder.encode(self.members) if self._edited else self._raw


def _has_double_names(raw: bytes, distinct: int) -> bool:
    """Whether a name occurs more than once, or is written with escapes."""
    try:
        top: list[tuple[str, Any]] = _pairs.decode(raw.decode())
    except (ValueError, RecursionError):
        return True  # thousands of digits, or nested deep: other parsers may read it differently too
    return len(top) != distinct or any(f'"{name}"'.encode(errors="replace") not in raw for name, _ in top)
