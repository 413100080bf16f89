"""A JSON object whose top level is known and whose values stay the bytes that came.

An edit replaces, adds or removes members of the top level. Everything below is copied as it was written: numbers keep
their digits, strings their escapes, and a body without an edit leaves as the very bytes that arrived.
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
    """What the decoder makes of the bytes. Raises its errors.

    JSON allows half of a surrogate pair in an escape, and JavaScript writes it where a string was cut in the middle of
    an emoji; msgspec does not read it. Then a copy is read in which a replacement character of the same length stands.
    Not of a large text, though: that takes seconds where it is full of them.
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
    """Whether a walk through the body could find any name; also where one is written with escapes."""
    for word in words:
        if raw.find(word) >= 0:  # `in` tries bytes as a number first, and makes an error of it: thrice the time
            return True
    return raw.find(b"\\") >= 0 and b"\\u00" in raw and _ESCAPED_LETTER.search(raw) is not None


class TooLongToRead(Exception):
    """A member that says little where it is meant well: `name` is longer than anybody here reads."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The {name} parameter is too long.")
        self.name = name


class NotAnObject(ValueError):
    """The bytes are not one JSON object; the text says what is wrong."""


class JSONBody:
    """A request's or an answer's JSON object."""

    __slots__ = ("_edited", "_raw", "members")

    facts: RequestFacts | None = None
    """Of a long one, whose members are not looked into here (`heavy/body.py`)."""

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
        """It leaves otherwise than it came."""
        return self._edited

    def may_name(self, words: tuple[bytes, ...]) -> bool:
        """Whether it may name anything that is stored; what does has one of the words in it."""
        return may_name(self._raw, words)

    def check_unambiguous(self) -> None:
        """Make sure that the provider reads what the gateway read. Raises `NotAnObject` for text that is not UTF-8.

        A name that stands twice, or once plainly and once with escapes, can mean one thing here and another there: a
        way around the allowed models. Such a body is written anew with the values that were checked.
        """
        if not self._raw.isascii():
            try:
                self._raw.decode()
            except UnicodeDecodeError as error:
                raise NotAnObject(f"it is not UTF-8 (byte {error.start})") from None
        compact = _encoder.encode(self.members)
        if len(compact) == len(self._raw):
            return
        # White space makes it longer as well, and is no reason to touch the bytes: so look closely where that is cheap.
        if len(self._raw) > EXACT_CHECK_BYTES or _has_double_names(self._raw, len(self.members)):
            self._edited = True

    def get(self, name: str) -> Any:
        """A member as Python's value; None where it is missing or null. Raises `NotAnObject` for one that has none."""
        value = self.members.get(name)
        try:
            return None if value is None else _any.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise NotAnObject(f"the value of {name!r} cannot be read") from None

    def says(self, name: str, value: bytes) -> bool:
        """Whether a member is just this."""
        member = self.members.get(name)
        return member is not None and bytes(member) == value

    def mentions(self, name: str, word: bytes) -> bool:
        """Whether a member has this in it."""
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
        """As it is sent: with these members set, which the body itself does not take over."""
        if changes:
            return _encoder.encode(self.members | {name: Raw(encoded(value)) for name, value in changes.items()})
        return _encoder.encode(self.members) if self._edited else self._raw


def _has_double_names(raw: bytes, distinct: int) -> bool:
    """Whether the object has more members, or spells their names otherwise, than plain decoding shows."""
    try:
        top: list[tuple[str, Any]] = _pairs.decode(raw.decode())
    except (ValueError, RecursionError):
        return True  # digits by the thousand, or deep: others may read it differently as well
    return len(top) != distinct or any(f'"{name}"'.encode(errors="replace") not in raw for name, _ in top)
