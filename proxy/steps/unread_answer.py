"""Excerpts of answers that should have been JSON: a page, a line of text. They are bounded and contain no secrets."""

from __future__ import annotations

import logging
import re

from proxy.components import Components
from proxy.exchange import Exchange
from proxy.steps.passed_headers import secret_of
from usage.bodies.show import RawBody

log = logging.getLogger("sluice.proxy")

MOST_CHARS = 500
LOOKED_AT_BYTES = 8 * 1024

_NOT_TEXT = re.compile(r"<(script|style)\b.{0,8192}?(?:</\1>|\Z)|<!--.{0,8192}?(?:-->|\Z)|<[^<>]{0,2000}>", re.I | re.S)
_SPACES = re.compile(r"\s+")
# Addresses in private networks, which are not shown to clients.
_INSIDE = re.compile(
    r"\b(?:(?:10|127)\.\d{1,3}|192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01]))\.\d{1,3}\.\d{1,3}(?::\d{1,5})?\b"
)


def note_unread(exchange: Exchange, status: int, raw: bytes | None, components: Components) -> str:
    """Log the text of the answer. Returns it for the client, without addresses in private networks."""
    text = text_of(exchange, raw or b"", components)
    name = exchange.attempts[-1].provider.name
    log.warning("Provider %s answered request %s with %d and no JSON: %s", name, exchange.request_id, status, text)
    return _INSIDE.sub("[address]", text)


def text_of(exchange: Exchange, raw: bytes, components: Components) -> str:
    """The text on one line, without markup and secrets."""
    raw_body = RawBody(bytearray(raw[:LOOKED_AT_BYTES]), len(raw), "", "")
    secret = secret_of(exchange)
    shown = components.shown_errors.of(raw_body, {secret} if secret else ()).body.decode("utf-8", "replace")
    if "<" in shown:
        shown = _NOT_TEXT.sub(" ", shown)
    # Line ends become spaces. Then all other characters that could control a terminal are removed.
    words = "".join(char for char in _SPACES.sub(" ", shown) if char.isprintable()).strip()
    return words if len(words) <= MOST_CHARS else words[: MOST_CHARS - 1] + "…"
