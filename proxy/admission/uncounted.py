"""Estimate tokens that no provider counted, and mark them as estimated.

Four bytes of UTF-8 text count as one token. What came from the provider counts, whether it was the whole answer, was
cut off by the provider, or was left by the client. What never came costs nothing (docs/operations.md). A plain answer
and a stream with the same text have the same estimate.

An event is on disk before the end of its answer leaves. So `finish_estimate` is called before an answer is ended: a
text that would block the event loop is searched in a thread, and the end waits for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from proxy.admission.estimate import estimated_prompt
from proxy.dialects.base import ESTIMATED, Usage
from proxy.exchange import Exchange
from proxy.wire.pieces import joined
from proxy.wire.text import tokens_of_bytes

LOOP_BYTES = 256 * 1024
"""A longer text is searched off the event loop."""


async def complete_count(exchange: Exchange, raw: bytes) -> None:
    """Estimate what the provider of a plain answer did not count, or counted as 0 although text came."""
    usage = exchange.usage
    if usage is None or (not usage.completion and exchange.dialect.makes_text):
        text_bytes = exchange.dialect.answer_bytes
        try:
            size = await asyncio.to_thread(text_bytes, raw) if len(raw) > LOOP_BYTES else text_bytes(raw)
        except asyncio.CancelledError:  # the client left meanwhile: it is charged for the answer, which has come whole
            set_estimate(exchange, text_bytes(raw))
            raise
        set_estimate(exchange, size)
        usage = exchange.usage
    if usage is not None and usage.prompt == 0 and (usage.completion or not exchange.dialect.makes_text):
        usage.prompt = None
    await finish_estimate(exchange)


def set_estimate(exchange: Exchange, size: int | None) -> None:
    usage = exchange.usage
    if usage is None and size is not None:
        exchange.usage = Usage(completion=tokens_of_bytes(size), source=ESTIMATED)
    elif usage is not None and size:
        usage.completion, usage.source = tokens_of_bytes(size), ESTIMATED


async def estimate_part(exchange: Exchange, pieces: Sequence[bytes]) -> None:
    """Set `usage` by the part of a plain answer that was read, such as before its client left, if there is any."""
    raw = await joined(pieces)
    if raw and not exchange.dialect.makes_text:
        set_estimate(exchange, 0)  # vectors contain no text, and searching them takes long
    elif raw:
        written = exchange.dialect.words.written
        is_long = len(raw) > LOOP_BYTES
        size = await asyncio.to_thread(texts_bytes, raw, written) if is_long else texts_bytes(raw, written)
        set_estimate(exchange, size)


def texts_bytes(raw: bytes, written: re.Pattern[bytes]) -> int:
    return sum(len(match[1]) for match in written.finditer(raw))


async def finish_estimate(exchange: Exchange) -> None:
    """Estimate a long prompt that no provider counted. Called before the end of an answer leaves."""
    usage = exchange.usage
    if usage is None or usage.prompt is not None:
        return
    body = exchange.body
    if body is not None and body.size > LOOP_BYTES:
        usage.prompt = await asyncio.to_thread(estimated_prompt, body, exchange.dialect.words)
        usage.source = ESTIMATED
