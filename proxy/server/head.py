"""A request's headers without Content-Length, and what is computed from them alone.

The requests of a connection mostly have the same headers apart from Content-Length. As long as they do, the server
passes the same `Head` from one request to the next, so what was computed for the first is not computed again. Nothing
is shared between connections: one client's headers are never compared with another's.
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
"""Headers that Sluice reads. A request that repeats one is refused: the next reader could take the other value."""

MAX_CORRELATION_CHARS = 128


class Head:
    """`headers` are the request's headers without the first `content-length`, with their names in lower case."""

    __slots__ = ("_lines_above", "correlation_id", "fault", "fields", "forwarded", "headers", "proven")

    def __init__(self, headers: Headers, fault: Fault | None = None) -> None:
        self.headers = headers
        self.fields = fields = dict(headers)
        if len(fields) != len(headers) or b"content-length" in fields:
            fault = fault or repeated(headers)
        self.fault = fault
        correlation_id = fields.get(b"x-correlation-id") or fields.get(b"x-request-id") or b""
        self.correlation_id = correlation_id.decode("latin-1")[:MAX_CORRELATION_CHARS]
        """The client's own id for what it does, cut to `MAX_CORRELATION_CHARS`."""
        self.proven: tuple[str, KeyRecord] | None = None
        """The public id that the client presented, and its key, after the secret was checked."""
        self._lines_above: bytes | None = None
        self.forwarded: Forwarded | None = None
        """What trusted proxies report in these headers; None until that has been read."""

    def lines_above(self) -> bytes:
        """The headers that are sent to the provider, as lines. Raises `ValueError` for a value with a line break."""
        lines = self._lines_above
        if lines is None:
            lines = self._lines_above = header_lines(upward(self.headers))
        return lines


def repeated(headers: Headers) -> Fault | None:
    """The fault for a header of `SINGLE` that occurs more than once; None if there is none."""
    names = [b"content-length", *(name for name, _ in headers)]  # `headers` lacks the first Content-Length
    for name in SINGLE:
        if names.count(name) > 1:
            return Fault(400, "duplicate_header", f"The header {name.decode()} stands more than once.")
    return None


def read_head(headers: Headers) -> tuple[Head, bytes | None]:
    """Take the first Content-Length out of headers in ASGI's form. Returns the head, and that value or None."""
    length = None
    others = []
    for header in headers:
        if length is None and header[0] == b"content-length":
            length = header[1]
        else:
            others.append(header)
    return Head(others), length
