"""What is known of a long body without reading it: a child of the worker has read it (`heavy/`)."""

from __future__ import annotations

import msgspec


class Member(msgspec.Struct, array_like=True):
    """Of the top level: its value's place in the text."""

    name: str
    start: int
    end: int


class NamedObject(msgspec.Struct, array_like=True):
    """Something stored that a body names."""

    kind: str
    id: str
    param: str


class RequestFacts(msgspec.Struct, tag=True):
    """What the steps ask of a body."""

    members: list[Member]
    is_ambiguous: bool
    """Two readers could understand it differently, so it is written anew."""
    inputs: int
    """Embeddings that it asks for."""
    prompts: int
    """Prompts that it has."""
    prompt: tuple[int | None, int | None]
    """Tokens to reserve, about and at most."""
    prompt_tokens: int | None
    """Tokens to charge where nobody counts them."""
    spoken: tuple[int, int] | None
    """Characters and bytes of a text that is to be spoken."""
    runs_code: bool
    may_name: bool
    named: list[NamedObject]
    unreadable_member: str | None
    """One of which nobody can say what it names."""
    unreadable_param: bool
    """The project allows only some values of one that cannot be read."""
    refused_param: str | None
    """The project does not allow its value."""
