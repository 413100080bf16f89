"""What the child is asked and what it tells, as MessagePack behind four bytes with its length."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.wire.jsonbody import SOFTENED_BYTES

HEAVY_BYTES = SOFTENED_BYTES
"""A longer text is read by the child. So long a one takes the loop five milliseconds at most."""

READ_BYTES = 256 * 1024
"""A longer member is read by the child alone; of shorter ones the worker reads what it asks for."""

LENGTH_BYTES = 4

READ_CPU_S = 15
"""For one text; what takes most are 60 MiB of small values that have to be searched for names: seven seconds."""


class ReadRequest(msgspec.Struct, tag=True):
    """Read a request's body of `size` bytes, which follow."""

    size: int
    endpoint: str
    """Its label."""
    names: tuple[bytes, ...]
    """Bytes without one of which it names nothing that is stored."""
    params: dict[str, list[Any]]
    """Values of parameters that the project allows."""


class ReadAnswer(msgspec.Struct, tag=True):
    """Read a provider's answer of `size` bytes, which follow."""

    size: int


Job = ReadRequest | ReadAnswer


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


class AnswerFacts(msgspec.Struct, tag=True):
    """What the gateway reads of an answer."""

    digest: bytes
    """The answer with something short in the place of each long member."""
    model: tuple[int, int] | None
    """Where the value of `model` stands."""


class Refused(msgspec.Struct, tag=True):
    """Why it cannot be read."""

    code: str
    message: str


Told = RequestFacts | AnswerFacts | Refused

NOT_AN_OBJECT, TOO_MANY_MEMBERS, TOO_COMPLEX = "not_an_object", "too_many_members", "body_too_complex"

encode = msgspec.msgpack.Encoder().encode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_told = msgspec.msgpack.Decoder(Told).decode
