"""What may be shown of a captured body: its beginning, without secrets."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from usage.bodies.redact import Redaction
from usage.bodies.unpack import Unreadable, unpacked

SLACK_BYTES = 8 * 1024
"""Read beyond what is shown, so that a secret that crosses the bound is seen whole."""

TORN_BYTES = 1024
"""Left out at the end of what was read, if the body continues."""

STREAM = "text/event-stream"


class RawBody(NamedTuple):
    """A body before redaction: its first bytes, its whole size, and its content type and encoding by the headers."""

    start: bytearray
    size: int
    content_type: str
    content_encoding: str


class Shown(NamedTuple):
    """A redacted body. `note` says what is missing; blank if nothing is."""

    body: bytes
    note: str


class Showing:
    """Redacts and cuts bodies. `secrets` returns those of the whole installation; `most_bytes` of a body are shown."""

    def __init__(self, redaction: Redaction, secrets: Callable[[], Collection[bytes]], most_bytes: int) -> None:
        self._redaction, self._secrets, self.most_bytes = redaction, secrets, most_bytes

    def of(self, body: RawBody, secrets: Collection[bytes]) -> Shown:
        """Return what may be shown of a body. `secrets` are those that its request used."""
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
        if is_cut:  # the end may be the beginning of a secret that was not seen whole
            redacted = redacted[: max(0, len(redacted) - TORN_BYTES)]
        return Shown(redacted[:most], f"Cut after {min(len(redacted), most):,} bytes.")
