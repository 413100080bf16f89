"""What a request and its answer say, taken on their way, for projects that have it kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from keys.records import ALL
from providers.kinds.base import read_lines
from proxy.exchange import Exchange
from proxy.passed import secret_of
from usage.bodies.keep import SLACK_BYTES, Captured, Taken

if TYPE_CHECKING:
    from usage.bodies.keep import BodyKeeper
    from usage.event import RequestEvent

COMPLETE = "complete"


class Capture:
    """The first bytes of both. It is there only for requests of such a project."""

    __slots__ = ("_answer", "_answer_bytes", "_most", "_request", "_request_bytes", "lines", "only_errors")

    def __init__(self, captures: str, most_bytes: int) -> None:
        self.only_errors = captures != ALL
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

    def taken(self, exchange: Exchange) -> tuple[Taken, Taken]:
        above, below = exchange.head.fields, dict(read_lines(self.lines))
        return (
            Taken(self._request, self._request_bytes, *described(above)),
            Taken(self._answer, self._answer_bytes, *described(below)),
        )


def described(fields: dict[bytes, bytes]) -> tuple[str, str]:
    """Content type and encoding."""
    words = (fields.get(name, b"").decode("latin-1").strip() for name in (b"content-type", b"content-encoding"))
    content_type, encoding = words
    return content_type, "" if encoding.lower() == "identity" else encoding


def keep_bodies(exchange: Exchange, capture: Capture, event: RequestEvent, keeper: BodyKeeper) -> None:
    """Neither waits nor raises."""
    if capture.only_errors and event.outcome == COMPLETE:
        return
    request, answer = capture.taken(exchange)
    keeper.add(Captured(event.id, event.at, request, answer, secrets_of(exchange)))


def secrets_of(exchange: Exchange) -> Collection[bytes]:
    """What this request had to do with: the token that came with it, and what the provider was called with."""
    fields = exchange.head.fields
    tokens = [fields.get(name, b"").strip() for name in (b"x-api-key", b"api-key")]
    tokens.append(fields.get(b"authorization", b"").rpartition(b" ")[2])
    return [secret for secret in (*tokens, secret_of(exchange)) if secret]
