"""What a request and its answer said, for the log of an operator who asked for it (`LOG_BODIES`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from django.conf import settings

from proxy.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = b"[redacted]"
MARGIN = 4096
"""Looked at beyond what is shown: longer than any key, so that one across the bound is found whole."""

_LOOKS_LIKE_A_KEY = re.compile(
    rb"(?i:\bbearer\s+)[A-Za-z0-9._~+/=-]{6,}|\b(?:sk|rk|pk)-[A-Za-z0-9_-]{8,}|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+"
    rb'|(?<="api_key":")[^"]+|(?<="api_key": ")[^"]+'
)
CREDENTIAL_HEADERS = (b"authorization", b"x-api-key", b"api-key")


class Excerpt:
    """The beginning of an answer, piece by piece."""

    __slots__ = ("_left", "_pieces")

    def __init__(self) -> None:
        self._left: int = settings.LOG_BODIES_MAX_BYTES + MARGIN
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        if self._left > 0:
            self._pieces.append(piece[: self._left])
            self._left -= len(piece)

    @property
    def text(self) -> bytes:
        return b"".join(self._pieces)


def with_bodies(document: bytes, exchange: Exchange) -> bytes:
    """An event as JSON, with what was asked and answered: bounded, and without what looks like a key."""
    secrets = [*secrets_of(exchange)]
    asked = exchange.body.encode() if exchange.body is not None else exchange.passed_body or b""
    told = exchange.told.text if exchange.told is not None else b""
    bodies = msgspec.json.encode({"request_body": bounded(asked, secrets), "response_body": bounded(told, secrets)})
    return document[:-1] + b"," + bodies[1:]


def secrets_of(exchange: Exchange) -> Iterable[bytes]:
    """What the client and Sluice authenticated with."""
    for name in CREDENTIAL_HEADERS:
        if value := exchange.head.fields.get(name):
            yield value.rpartition(b" ")[2]
    if exchange.access is not None and exchange.access.secret:
        yield exchange.access.secret


def bounded(body: bytes, secrets: Iterable[bytes]) -> str:
    """The beginning of a body. What is cut off is cut after the secrets were taken out, `MARGIN` before where the body
    itself was: no half of one is left.
    """
    most: int = settings.LOG_BODIES_MAX_BYTES
    is_cut = len(body) >= most + MARGIN
    body = body[: most + MARGIN]
    for secret in secrets:
        body = body.replace(secret, MARK)
    body = re.sub(re.escape(settings.KEY_PREFIX.encode()) + rb"[A-Za-z0-9_-]{4,}", MARK, body)
    body = _LOOKS_LIKE_A_KEY.sub(MARK, body)
    if is_cut:
        body = body[: max(0, len(body) - MARGIN)]
    return body[:most].decode(errors="replace") + ("…" if is_cut or len(body) > most else "")
