"""The long body of a request: its bytes, and what the child told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from proxy.heavy.jobs import READ_BYTES
from proxy.wire.body_facts import RequestFacts
from proxy.wire.jsonbody import JSONBody, TooLongToRead, encoded
from proxy.wire.pieces import Pieces


class HeavyBody(JSONBody):
    """Its members are views of the text. No method goes through a long member."""

    __slots__ = ("facts",)

    facts: RequestFacts

    def __init__(self, raw: bytes, facts: RequestFacts) -> None:
        self._raw = raw
        self._edited = facts.is_ambiguous
        self.facts = facts
        view = memoryview(raw)
        self.members = {each.name: Raw(view[each.start : each.end]) for each in facts.members}

    def check_unambiguous(self) -> None:
        """The child has checked it."""

    def get(self, name: str) -> Any:
        """The same as in `JSONBody`. Also raises `TooLongToRead`."""
        if self.is_long(name):
            raise TooLongToRead(name)
        return super().get(name)

    def is_long(self, name: str) -> bool:
        value = self.members.get(name)
        return value is not None and len(memoryview(value)) > READ_BYTES

    def short_members(self) -> dict[str, Raw]:
        return {name: value for name, value in self.members.items() if not self.is_long(name)}

    def says(self, name: str, value: bytes) -> bool:
        return not self.is_long(name) and super().says(name, value)

    def mentions(self, name: str, word: bytes) -> bool:
        return self.facts.runs_code if self.is_long(name) else super().mentions(name, word)

    def may_name(self, words: tuple[bytes, ...]) -> bool:
        return self.facts.may_name

    def encode(self, changes: Mapping[str, Any] | None = None) -> Pieces:  # type: ignore[override]  # as it is sent on
        """The body with these changes, written as msgspec writes an object; unchanged, the bytes as they came."""
        if not self._edited and not changes:
            return Pieces([self._raw])
        members = self.members
        if changes:
            members = members | {name: Raw(encoded(value)) for name, value in changes.items()}
        texts: list[bytes | memoryview] = []
        for name, value in members.items():
            texts += [b",%s:" % encoded(name) if texts else b"{%s:" % encoded(name), memoryview(value)]
        texts.append(b"}" if texts else b"{}")
        return Pieces(texts)
