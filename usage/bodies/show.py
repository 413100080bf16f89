"""What may be shown of a body that was taken on its way: its beginning, without secrets."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from usage.bodies.redact import Redaction
from usage.bodies.unpack import Unreadable, unpacked

SLACK_BYTES = 8 * 1024
"""Taken beyond what is shown, so that a secret that stands across that bound is still seen whole."""

TORN_BYTES = 1024
"""Left out at the end of what was seen, where more followed."""

STREAM = "text/event-stream"


class RawBody(NamedTuple):
    """A body before redaction: its first bytes, how many there were in all, and how its head describes it."""

    start: bytearray
    size: int
    content_type: str
    content_encoding: str


class Shown(NamedTuple):
    """`note` says what is missing of it; blank: nothing."""

    body: bytes
    note: str


class Showing:
    """For one purpose. `secrets` tells those of the whole installation; `most_bytes` are shown of each body."""

    def __init__(self, redaction: Redaction, secrets: Callable[[], Collection[bytes]], most_bytes: int) -> None:
        self._redaction, self._secrets, self.most_bytes = redaction, secrets, most_bytes

    def of(self, body: RawBody, secrets: Collection[bytes]) -> Shown:
        """`secrets` are those that this request had to do with."""
        most = self.most_bytes
        most_read = most + SLACK_BYTES
        raw = bytes(body.start[:most_read])
        is_cut = body.size > len(raw)
        if body.content_encoding:
            try:
                raw = unpacked(raw, body.content_encoding, most_read)
            except Unreadable as error:
                return Shown(b"", f"Not kept: compressed as {str(error)[:40]!r}, which is not read here.")
            is_cut = is_cut or len(raw) >= most_read
        all_secrets = {*secrets, *self._secrets()}
        redacted = self._redaction.redacted(raw, all_secrets, is_stream=body.content_type.startswith(STREAM))
        if not is_cut and len(redacted) <= most:
            return Shown(redacted, "")
        if is_cut:  # what stands at the end may be the beginning of a secret that was not seen whole
            redacted = redacted[: max(0, len(redacted) - TORN_BYTES)]
        return Shown(redacted[:most], f"Cut after {min(len(redacted), most):,} bytes.")
