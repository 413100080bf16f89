"""Answers with pictures and with transcripts of sound: their tokens, and the pictures or seconds that have a price.

https://platform.openai.com/docs/api-reference/images, https://platform.openai.com/docs/api-reference/audio
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from proxy.dialects.base import AnswerContext, Dialect, Facts, RareFacts, Usage
from proxy.dialects.counts import decoded_or_mended, read_usage
from proxy.dialects.opaque import OpaqueReader
from proxy.wire.sse import data_of
from usage.prices.price import Units

MOST_SECONDS = 10_000_000


class _Answer(msgspec.Struct):
    data: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    duration: Any = None
    """Seconds of sound, in the format `verbose_json`."""

    type: Any = ""
    """The type of an event."""


class _Heard(msgspec.Struct):
    type: Any = ""
    seconds: Any = None


_answer = msgspec.json.Decoder(_Answer)
_heard = msgspec.json.Decoder(_Heard)


class MediaDialect(Dialect):
    has_content = True

    def read_answer(self, raw: bytes, context: AnswerContext) -> tuple[bytes, Facts]:
        """An answer of another shape is passed on, and its tokens are estimated."""
        answer = decoded_or_mended(_answer, raw)
        return raw, Facts() if answer is None else Facts(usage_of(answer), rare=RareFacts(units_of(answer)))

    def stream_reader(self, context: AnswerContext) -> OpaqueReader:
        return MediaReader()


class MediaReader(OpaqueReader):
    """Counts the complete pictures, and adds up the usage that the events tell."""

    def frame(self, frame: bytes) -> bytes:
        data = data_of(frame)
        answer = decoded_or_mended(_answer, data) if data else None
        if answer is None:
            return frame
        if isinstance(answer.type, str) and answer.type.startswith("image") and answer.type.endswith(".completed"):
            self.units = Units(pictures=(self.units.pictures if self.units is not None else 0) + 1)
        if (units := units_of(answer)) is not None:
            self.units = units
        if (usage := usage_of(answer)) is not None:
            self.usage = usage if self.usage is None else both(self.usage, usage)
        return frame

    def counted(self) -> Usage | None:
        return self.usage


def usage_of(answer: _Answer) -> Usage | None:
    """The tokens that an answer tells. All output tokens of an answer with pictures count as the pictures', unless it
    says otherwise.
    """
    usage = read_usage(answer.usage)
    if usage is not None and not usage.prompt and not usage.completion:
        return None
    is_picture = answer.data is not None or (isinstance(answer.type, str) and answer.type.startswith("image"))
    if usage is not None and is_picture and usage.picture_out is None:
        usage.picture_out = usage.completion
    return usage


def units_of(answer: _Answer) -> Units | None:
    if answer.data is not None:
        return Units(pictures=len(answer.data))
    seconds = answer.duration
    if answer.usage:
        heard = decoded_or_mended(_heard, bytes(answer.usage))
        if heard is not None and heard.type == "duration":
            seconds = heard.seconds
    if isinstance(seconds, str):
        try:
            seconds = float(seconds)
        except ValueError:
            return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < MOST_SECONDS:
        return None
    return Units(seconds=math.ceil(seconds))


def both(one: Usage, other: Usage) -> Usage:
    """The sum of two usages, for a stream that tells the usage of each picture."""
    total = Usage()
    for name in ("prompt", "completion", "cached", "picture_in", "picture_out", "audio", "audio_in", "audio_out"):
        counts = [count for count in (getattr(one, name), getattr(other, name)) if count is not None]
        setattr(total, name, sum(counts) if counts else None)
    return total
