"""A request's head, but for its length, and what follows from it alone.

The requests of a connection mostly say the same but for the length of their bodies. As long as they do, the server
hands the same `Head` from one to the next, and what was worked out for the first is there for all of them. Nothing is
shared between connections: what a stranger sends is never compared with what somebody else sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from providers.kinds.base import Headers, header_lines
from proxy.wire.fault import Fault
from proxy.wire.headers import upward

if TYPE_CHECKING:
    from keys.records import KeyRecord
    from proxy.server.trusted_proxies import Forwarded

SINGLE = (b"host", b"authorization", b"x-api-key", b"api-key", b"content-type", b"content-length", b"x-preferred-model")
"""Headers that mean something here, and could mean something else to the next reader where they stand twice."""

MAX_CORRELATION_CHARS = 128


class Head:
    """`headers` are those of the request without the first `content-length`, names in lower case."""

    __slots__ = ("_lines_above", "correlation_id", "fault", "fields", "forwarded", "headers", "proven")

    def __init__(self, headers: Headers, fault: Fault | None = None) -> None:
        self.headers = headers
        self.fields = fields = dict(headers)
        if len(fields) != len(headers) or b"content-length" in fields:
            fault = fault or repeated(headers)
        self.fault = fault
        correlation_id = fields.get(b"x-correlation-id") or fields.get(b"x-request-id") or b""
        self.correlation_id = correlation_id.decode("latin-1")[:MAX_CORRELATION_CHARS]
        """The client's own name for what it does."""
        self.proven: tuple[str, KeyRecord] | None = None
        """The public id that was presented, and the key whose secret came with it."""
        self._lines_above: bytes | None = None
        self.forwarded: Forwarded | None = None
        """What trusted proxies say in it."""

    def lines_above(self) -> bytes:
        """The headers that go to the provider, as lines. Raises `ValueError` for a value with a line break in it."""
        lines = self._lines_above
        if lines is None:
            lines = self._lines_above = header_lines(upward(self.headers))
        return lines


def repeated(headers: Headers) -> Fault | None:
    """Of the first header that stands more than once and must not."""
    names = [b"content-length", *(name for name, _ in headers)]  # its first one is kept apart
    for name in SINGLE:
        if names.count(name) > 1:
            return Fault(400, "duplicate_header", f"The header {name.decode()} stands more than once.")
    return None


def read_head(headers: Headers) -> tuple[Head, bytes | None]:
    """The head and the declared length, from headers as ASGI has them."""
    length = None
    others = []
    for header in headers:
        if length is None and header[0] == b"content-length":
            length = header[1]
        else:
            others.append(header)
    return Head(others), length
