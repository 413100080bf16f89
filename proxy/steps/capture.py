"""What a request and its answer say, taken on their way: for projects that have it kept, for the log of who asks."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from keys.records import ALL
from providers.kinds.base import read_lines
from proxy.exchange import Exchange
from proxy.steps.passed_headers import secret_of
from usage.bodies.keep import Captured
from usage.bodies.show import SLACK_BYTES, Taken

if TYPE_CHECKING:
    from usage.bodies.keep import BodyKeeper
    from usage.bodies.show import Showing
    from usage.event import RequestEvent

COMPLETE = "complete"
LOGGED = ("request_body", "response_body")


class Capture:
    """The first bytes of both. It is there only where somebody wants them."""

    __slots__ = ("_answer", "_answer_bytes", "_most", "_request", "_request_bytes", "keeps", "lines")

    def __init__(self, most_bytes: int) -> None:
        self.keeps = ""
        """What the project has kept: `errors`, `all`, or nothing."""
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
    if capture.keeps != ALL and event.outcome == COMPLETE:
        return
    request, answer = capture.taken(exchange)
    keeper.add(Captured(event.id, event.at, request, answer, secrets_of(exchange)))


def with_bodies(document: bytes, exchange: Exchange, capture: Capture, showing: Showing) -> bytes:
    """An event as JSON, for the log, with what was asked and answered."""
    secrets = secrets_of(exchange)
    asked, told = (showing.of(taken, secrets) for taken in capture.taken(exchange))
    texts = [shown.body.decode(errors="replace") + ("…" if shown.note else "") for shown in (asked, told)]
    return document[:-1] + b"," + msgspec.json.encode(dict(zip(LOGGED, texts, strict=True)))[1:]


def secrets_of(exchange: Exchange) -> Collection[bytes]:
    """What this request had to do with: the token that came with it, and what the provider was called with."""
    fields = exchange.head.fields
    tokens = [fields.get(name, b"").strip() for name in (b"x-api-key", b"api-key")]
    tokens.append(fields.get(b"authorization", b"").rpartition(b" ")[2])
    return [secret for secret in (*tokens, secret_of(exchange)) if secret]
