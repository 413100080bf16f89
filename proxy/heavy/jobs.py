"""The messages between worker and child, in MessagePack. Four bytes with the length go before each."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.wire.body_facts import RequestFacts
from proxy.wire.jsonbody import SOFTENED_BYTES

HEAVY_BYTES = SOFTENED_BYTES
"""A longer text is read by the child. A text of this length takes the event loop five milliseconds at most."""

READ_BYTES = 256 * 1024
"""A longer member is read by the child alone. Of shorter ones the worker reads what it needs."""

LENGTH_BYTES = 4

READ_CPU_S = 15
"""Seconds of CPU time for one text. The slowest texts are 60 MiB of small values that are searched for names: they take
seven seconds.
"""


class ReadRequest(msgspec.Struct, tag=True):
    """Read a request's body of `size` bytes, which follow."""

    size: int
    endpoint: str
    """The endpoint's label."""
    names: tuple[bytes, ...]
    """A body without any of these bytes names no stored object."""
    params: dict[str, list[Any]]
    """The values that the project allows, by parameter."""


class ReadAnswer(msgspec.Struct, tag=True):
    """Read a provider's answer of `size` bytes, which follow."""

    size: int


Job = ReadRequest | ReadAnswer


class AnswerFacts(msgspec.Struct, tag=True):
    """What the worker needs of an answer."""

    digest: bytes
    """The answer, with a short value in the place of each long one."""
    model: tuple[int, int] | None
    """Start and end of the value of `model` in the text; None if it has none, or is forwarded as it came."""


class Refused(msgspec.Struct, tag=True):
    """Why the text cannot be read."""

    code: str
    message: str


Result = RequestFacts | AnswerFacts | Refused

NOT_AN_OBJECT, TOO_MANY_MEMBERS, TOO_COMPLEX = "not_an_object", "too_many_members", "body_too_complex"

encode = msgspec.msgpack.Encoder().encode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_result = msgspec.msgpack.Decoder(Result).decode
