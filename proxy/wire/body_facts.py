"""What a child of the worker (`heavy/`) returns about a long body, which the worker does not parse."""

from __future__ import annotations

import msgspec


class Member(msgspec.Struct, array_like=True):
    """A member of the top level, and the position of its value in the text."""

    name: str
    start: int
    end: int


class NamedObject(msgspec.Struct, array_like=True):
    """A stored object that a body names."""

    kind: str
    id: str
    param: str


class RequestFacts(msgspec.Struct, tag=True):
    """What the steps need to know about a body."""

    members: list[Member]
    is_ambiguous: bool
    """Two parsers could read it differently, so it is written anew."""
    inputs: int
    """How many embeddings it asks for."""
    prompts: int
    """How many prompts it has."""
    prompt: tuple[int | None, int | None]
    """Tokens to reserve: (an estimate, an upper bound)."""
    prompt_tokens: int | None
    """Tokens to charge if the provider does not count them."""
    spoken: tuple[int, int] | None
    """(Characters, bytes) of a text that is to be spoken."""
    runs_code: bool
    may_name: bool
    named: list[NamedObject]
    unreadable_member: str | None
    """A member that cannot be read, so that it is unknown which stored objects it names."""
    unreadable_param: bool
    """A parameter cannot be read, but the project allows only some values of it."""
    refused_param: str | None
    """A parameter whose value the project does not allow."""
