"""How long a request waits and how large it may be. Read from the settings once."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.errors import RequestTimeout, TooLarge, UpstreamTimeout

MAX_MODEL_CHARS = 200


class Bounds(msgspec.Struct, frozen=True):
    """Times in seconds, sizes in bytes. Methods make the errors of exceeded bounds, only when they are needed."""

    require_key: bool
    key_prefix: str
    provider_suffix: str
    payload_bytes: int
    body_room_bytes: int
    """Of all request bodies that the process holds at one time."""
    upload_bytes: int
    body_s: float
    first_byte_s: float
    answer_s: float
    idle_s: float
    head_s: float
    """Until the head of an answer has come."""
    captured_bytes: int
    """Taken from the beginning of a body that is stored or logged."""
    attempts: int = 1
    """Providers that are asked at most, one after the other."""

    @classmethod
    def from_settings(cls, settings: Any) -> Bounds:
        return cls(
            require_key=settings.REQUIRE_API_KEY,
            key_prefix=settings.KEY_PREFIX,
            provider_suffix=settings.PROVIDER_SUFFIX,
            payload_bytes=settings.MAX_PAYLOAD_BYTES,
            body_room_bytes=settings.MAX_HELD_BODY_BYTES,
            upload_bytes=settings.MAX_UPLOAD_BYTES,
            body_s=settings.BODY_TIMEOUT_SECS,
            first_byte_s=settings.TTFT_TIMEOUT_SECS,
            answer_s=settings.REQUEST_TIMEOUT_SECS,
            idle_s=settings.STREAM_IDLE_TIMEOUT_SECS,
            head_s=min(settings.TTFT_TIMEOUT_SECS, settings.REQUEST_TIMEOUT_SECS),
            captured_bytes=max(settings.BODY_CAPTURE_BYTES, settings.LOG_BODIES_MAX_BYTES),
        )

    def too_large(self, most: int) -> TooLarge:
        return too_large(most)

    def body_late(self) -> RequestTimeout:
        return RequestTimeout("request_timeout", "The body of the request did not arrive in time.")

    def first_byte_late(self) -> UpstreamTimeout:
        if self.first_byte_s >= self.answer_s:
            return self.answer_late()
        return UpstreamTimeout("ttft_timeout", f"The provider sent no first byte within {self.first_byte_s:g} s.")

    def answer_late(self) -> UpstreamTimeout:
        return UpstreamTimeout("upstream_timeout", f"The provider did not answer within {self.answer_s:g} s.")

    def stream_idle(self) -> UpstreamTimeout:
        return UpstreamTimeout("upstream_idle_timeout", f"The provider sent nothing for {self.idle_s:g} s.")


def too_large(most: int) -> TooLarge:
    return TooLarge("payload_too_large", f"The body is larger than {most:,} bytes.")
