"""The beginnings of a request's and an answer's body, for projects that store bodies and for a log that has them."""

from __future__ import annotations

from providers.kinds.base import read_lines
from usage.bodies.show import SLACK_BYTES, RawBody


class Capture:
    """The first bytes of both bodies. It is made only if they are wanted."""

    __slots__ = ("_answer", "_answer_bytes", "_most", "_request", "_request_bytes", "keeps", "lines")

    def __init__(self, most_bytes: int) -> None:
        self.keeps = ""
        """Which bodies the project stores: `errors`, `all`, or blank for none."""
        self.lines = b""
        """The header lines of the answer."""
        self._most = most_bytes + SLACK_BYTES
        self._request = bytearray()
        self._answer = bytearray()
        self._request_bytes = self._answer_bytes = 0

    def take_request(self, piece: bytes) -> None:
        if (room := self._most - self._request_bytes) > 0:
            self._request += piece[:room]
        self._request_bytes += len(piece)

    def take_answer(self, piece: bytes) -> None:
        if (room := self._most - self._answer_bytes) > 0:
            self._answer += piece[:room]
        self._answer_bytes += len(piece)

    def bodies(self, above: dict[bytes, bytes]) -> tuple[RawBody, RawBody]:
        """(The body of the request with these headers, the body of its answer.)"""
        below = dict(read_lines(self.lines))
        return (
            RawBody(self._request, self._request_bytes, *described(above)),
            RawBody(self._answer, self._answer_bytes, *described(below)),
        )


def described(fields: dict[bytes, bytes]) -> tuple[str, str]:
    """(Content type, content encoding.)"""
    words = (fields.get(name, b"").decode("latin-1").strip() for name in (b"content-type", b"content-encoding"))
    content_type, encoding = words
    return content_type, "" if encoding.lower() == "identity" else encoding
