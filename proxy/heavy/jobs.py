"""What the child is asked and what it tells, as MessagePack behind four bytes with its length."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.wire.body_facts import RequestFacts
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


Result = RequestFacts | AnswerFacts | Refused

NOT_AN_OBJECT, TOO_MANY_MEMBERS, TOO_COMPLEX = "not_an_object", "too_many_members", "body_too_complex"

encode = msgspec.msgpack.Encoder().encode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_result = msgspec.msgpack.Decoder(Result).decode
